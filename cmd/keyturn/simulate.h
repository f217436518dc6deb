/* SPDX-License-Identifier: Apache-2.0
 *
 * simulate: plays one rotation of a realm that does not exist, decided as the operator decides, and
 * prints its timeline. */
#ifndef KEYTURN_CMD_SIMULATE_H
#define KEYTURN_CMD_SIMULATE_H

/* argv[0] is "simulate". The status to exit with. */
int simulate(int argc, char **argv);

#endif
