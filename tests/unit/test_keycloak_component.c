/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/attr.h"
#include "keycloak/component.h"

#define UID "6a1f7c1e-52a0-4b0e-9a51-0f6f4cbb1c11"

/* Made by Python's uuid.uuid5. Another answer would make a second key beside each that is there. */
static void ids_never_change(void **state)
{
    (void)state;
    static const struct {
        const char *uid;
        uint64_t number;
        const char *id;
    } cases[] = {
        {UID, 1, "a0a20ea4-7fc3-5336-8f18-03699f58408b"},
        {UID, UINT64_MAX, "8042a666-ba9a-5e53-b3cc-60b77a1b7be9"},
        {"u", 12, "e88ac834-1d22-5176-808d-e8ba139eb67b"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char id[COMPONENT_ID_TEXT];
        component_id(cases[i].uid, cases[i].number, id);
        assert_string_equal(id, cases[i].id);
    }
}

static void names_are_read_back(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {1, 9, 10, UINT64_MAX};
    static const char *const uids[] = {UID, "uid-1", "x"};
    for (size_t u = 0; u < ARRAY_LEN(uids); u++) {
        for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
            char name[64];
            bool mine = false;
            uint64_t number = 0;
            component_name(uids[u], numbers[i], name, sizeof(name));
            assert_true(component_parse(name, uids[u], &mine, &number));
            assert_true(mine);
            assert_int_equal(number, numbers[i]);
        }
    }
    char name[64];
    component_name(UID, 3, name, sizeof(name));
    assert_string_equal(name, "keyturn-6a1f7c1e-3");
}

static void names_of_others_are_told_apart(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool ours, mine;
        uint64_t number;
    } cases[] = {
        {"keyturn-6a1f7c1e-12", true, true, 12},
        {"keyturn-00000000-4", true, false, 4},
        {"keyturn-6a1f7c1f-18446744073709551615", true, false, UINT64_MAX},
        {"keyturn-6a1f7c1e-18446744073709551616", false, false, 0},
        {"keyturn-6a1f7c1e-0", false, false, 0},
        {"keyturn-6a1f7c1e-012", false, false, 0},
        {"keyturn-6a1f7c1e-", false, false, 0},
        {"keyturn-6a1f7c1e", false, false, 0},
        {"keyturn-6a1f7c1e-1x", false, false, 0},
        {"keyturn-6A1F7C1E-1", false, false, 0},
        {"keyturn-6a1f7c1-1", false, false, 0},
        {"keyturn-6a1f7c1e0-1", false, false, 0},
        {"keyturn-legacy-1", false, false, 0},
        {"keyturn-3", false, false, 0},
        {"keyturn-", false, false, 0},
        {"keyturn", false, false, 0},
        {"rsa-generated", false, false, 0},
        {"", false, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool mine = false;
        uint64_t number = 0;
        if (component_parse(cases[i].name, UID, &mine, &number) != cases[i].ours ||
            mine != cases[i].mine || number != cases[i].number)
            fail_msg("%s: mine %d, number %llu", cases[i].name, mine, (unsigned long long)number);
    }
}

static void providers_follow_the_algorithm(void **state)
{
    (void)state;
    static const char *const algorithms[][2] = {
        {"RS256", "rsa-generated"},   {"RS384", "rsa-generated"},   {"RS512", "rsa-generated"},
        {"PS256", "rsa-generated"},   {"PS384", "rsa-generated"},   {"PS512", "rsa-generated"},
        {"ES256", "ecdsa-generated"}, {"ES384", "ecdsa-generated"}, {"ES512", "ecdsa-generated"},
        {"EdDSA", "eddsa-generated"},
    };
    for (size_t i = 0; i < ARRAY_LEN(algorithms); i++)
        assert_string_equal(component_provider(algorithms[i][0]), algorithms[i][1]);
    assert_null(component_provider("HS512"));
    assert_null(component_provider("none"));
    assert_null(component_provider(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_never_change),
        cmocka_unit_test(names_are_read_back),
        cmocka_unit_test(names_of_others_are_told_apart),
        cmocka_unit_test(providers_follow_the_algorithm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
