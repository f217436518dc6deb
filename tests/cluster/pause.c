// SPDX-License-Identifier: Apache-2.0
// The sandbox process of every pod: keeps the namespaces alive, reaps orphans, ends at SIGTERM.
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>

int main(void)
{
    sigset_t set;
    int sig = 0;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (sigprocmask(SIG_BLOCK, &set, NULL) != 0) {
        return 1;
    }
    while (sigwait(&set, &sig) == 0 && sig == SIGCHLD) {
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    }
    return 0;
}
