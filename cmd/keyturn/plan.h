/* SPDX-License-Identifier: Apache-2.0
 *
 * plan: prints the timeline that would follow from a KeyRotation in a file, decided as the operator
 * decides; or the table of checks that decides, as a diagram. Reads files, changes nothing. */
#ifndef KEYTURN_CMD_PLAN_H
#define KEYTURN_CMD_PLAN_H

/* argv[0] is "plan". The status to exit with: 0, 1 where the plan gets stuck, 2 a mistake. */
int plan(int argc, char **argv);

#endif
