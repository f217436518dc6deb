/* SPDX-License-Identifier: Apache-2.0
 *
 * jose_vectors: public keys, certificates and signatures for tests. The RFC_ ones are the examples
 * of RFC 7515 appendix A, RFC 7638 section 3.1 and RFC 8037 appendix A; the VEC_ ones were made
 * once with PyJWT and OpenSSL's command, their private keys are gone. They never change: golden
 * hashes are made of them. */
#ifndef KEYTURN_TESTS_JOSE_VECTORS_H
#define KEYTURN_TESTS_JOSE_VECTORS_H

#define RFC7638_N                                                                          \
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tS" \
    "oc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65" \
    "YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyr" \
    "dkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzK" \
    "nqDKgw"

#define RFC7638_THUMBPRINT "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"

#define RFC7515_A2_N                                                                       \
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEz" \
    "P1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf6" \
    "3kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5Zw" \
    "Kh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRW" \
    "yuXpoQ"

#define RFC7515_A2_JWS                                                                     \
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGF" \
    "tcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu" \
    "3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdi" \
    "uB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--x" \
    "i12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5A" \
    "XLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"

#define RFC7515_A3_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"

#define RFC7515_A3_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"

#define RFC7515_A3_JWS                                                                     \
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGF" \
    "tcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw" \
    "5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"

#define RFC7515_A4_X                                                                       \
    "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceq" \
    "wQGk"

#define RFC7515_A4_Y                                                                       \
    "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3k" \
    "yMj2"

#define RFC7515_A4_JWS                                                                     \
    "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1" \
    "bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqO" \
    "gzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"

#define RFC8037_X "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"

#define RFC8037_THUMBPRINT "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"

#define RFC8037_JWS                                                                        \
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7" \
    "-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"

#define VEC_RSA_SPKI                                                                       \
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAyRxc3OVLVOYybXKNocVMpyRYHgIrpXnkOHorF5AU" \
    "VWHeeRhsu8tHdtHiIFSzg7yNyHz02nTdgvOlI4ybeFLHSr8ry2yZpNUWi4/s36w8kwv7KcX93BEoGGUtJIWE" \
    "BrJisJOqEqWaziPHT+jJ0AuDklMkDLB+fpCfzlZvscsF1qsk/9rzjSSF4MG0RC9oETKrsYhvSkFaLehL9VV+" \
    "wGVMqV+eIO4YChXRYo2FjjgcyEXzFW3qQWRXPGTk4XhCgqJ9mn0Neldhqa6k7uz96QFLUoBsb/d20fDC1lip" \
    "VY4S9DfJ9nxvUWUawvYF+x+DYDYr5D6rkIPW8VumngbOiq3TOwIDAQAB"

#define VEC_RSA_N                                                                          \
    "yRxc3OVLVOYybXKNocVMpyRYHgIrpXnkOHorF5AUVWHeeRhsu8tHdtHiIFSzg7yNyHz02nTdgvOlI4ybeFLH" \
    "Sr8ry2yZpNUWi4_s36w8kwv7KcX93BEoGGUtJIWEBrJisJOqEqWaziPHT-jJ0AuDklMkDLB-fpCfzlZvscsF" \
    "1qsk_9rzjSSF4MG0RC9oETKrsYhvSkFaLehL9VV-wGVMqV-eIO4YChXRYo2FjjgcyEXzFW3qQWRXPGTk4XhC" \
    "gqJ9mn0Neldhqa6k7uz96QFLUoBsb_d20fDC1lipVY4S9DfJ9nxvUWUawvYF-x-DYDYr5D6rkIPW8VumngbO" \
    "iq3TOw"

#define VEC_RS384                                                                          \
    "eyJhbGciOiJSUzM4NCIsImtpZCI6ImsiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJSUzM4NCJ9.nqHqBxUn-RKw" \
    "ul2zTwMqpyq0uSym4N_WiNvnGlAHKf_YsLyqUEney_u_fuEQrQaLB40Ue3aOweQuxzdK_NAz9198-gMVRy3H" \
    "c7qjMYowf4vvQiyGPghgSrhLNs2UL2eZinSdrdCi--31kwmjANkgyGLuduRmAvTN63-NmNdWxRdNxM5ygR71" \
    "pHZ_ZR5vsrFN7Gk2FgZZGEbYbFAByzd1QXhxncYgLyW3RsG97f-1o21g1UuG63Y3amonTG6ycAGjKjwXTcn7" \
    "clNZlGGLIYaWi7PlSXkd_SXDjflOpG7xbZVzBh5OHISSkgKmMYBFQKbngxDkPfBtl_VVDU9Rm7LXhw"

#define VEC_RS512                                                                          \
    "eyJhbGciOiJSUzUxMiIsImtpZCI6ImsiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJSUzUxMiJ9.kMKxBsOLyxse" \
    "Gru3szV5CYQre4bcoGUhkUksj-m_nLYJpNfgG3SLLvab1Hvn9_m-OTmliDPAlMRCg4g1f-X151fauzwpf2JP" \
    "xDC46vHvXq_5hX5jCGYaDOTE7WYcMyyS4a0Nev3EfRwAnoThJaQ5sYlqVdtT2Wn3HBGLs3SvD_1xvP297LVw" \
    "yD4AL3qxFCTn_icPmrdtulDHqCGwJQW9Cn0IBOs8cOYTRtDKV7Exvdqi79m1WsD7zO4y1RYcP4QC5eoHaZHB" \
    "sXxM9UESDtY9Mldqc0XgHqUsopHlNpbwPwPE1UvS6oJMvynha7F-Y2tTUUNJDOFE1Tu5hK0E1YOsZQ"

#define VEC_PS256                                                                          \
    "eyJhbGciOiJQUzI1NiIsImtpZCI6ImsiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJQUzI1NiJ9.B-u5kiMQ9eDn" \
    "ASU9AtM8ibcjWRiA0CUGuDSOGu3q2jmXhbiY3RuC5aJuU_IF7eTU9-hd3W_tVizvn_YEXgVG7dY5xXiYkoLI" \
    "3ZuVZdskwwkkbdUJeIXY2Igcp6szmTn36AXzxFdzfP-64iO6HAsxfhb13fKLS27vGnAq3JW8udfYcU7rvcZx" \
    "uQg7ec7aRhzO8jdNExer53uLFyqdLXHMuIguCQCK5Mswc3bewNMcBF76izFHV0ifIz48SryoQsl1tGzjpTs3" \
    "EO13ECLeJ3oTm06-Vg06ZzpF9MwJtHeV-u8ZlqBN46BfN5YiUkCWGMrRf_ssxY0lI7J0jRgsiKFsxQ"

#define VEC_PS384                                                                          \
    "eyJhbGciOiJQUzM4NCIsImtpZCI6ImsiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJQUzM4NCJ9.se0fO-iqaUmq" \
    "zkZa3dZbDHvVUtuKlkdG_Bo7f3TJjXK_-F2Eam1uA-d0DKCXIeQxcl8BXEr3oXoYilyKSyf0dXdyOp3oK_ky" \
    "z_VgBLXcbVgVa35vOMWRelF_1MEwXYy9Uq62VHzvUxGdg8Rl7RZLmC9gLVJHi3UOi34UMs44FZrn0rZp_bFt" \
    "IgrdgV3KHcbyCaWQ1kjPzOF3ox7SZk9P7jyuf2F49s2WpgIAgs_0tBQsk2rtxdEFJPtVEvWgqVStaxP-7NXH" \
    "7l1BSgNTfXU7PujIy3gvmkAOcC-NzvAe3jbG2_-7xRHowx06ppjeGv1pY7qWRcTjqGzuELzsLheIfg"

#define VEC_PS512                                                                          \
    "eyJhbGciOiJQUzUxMiIsImtpZCI6ImsiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJQUzUxMiJ9.MGSr0014s0kY" \
    "H2Y_CpdKZJAzVu8Zadmgl9ke7mGTCndQHVWp4iSOzZ01WPXeFgfFmeuE47s8IPYjTjds3FsIouuVcbHU-063" \
    "3f-dNPWfrQrLxD8WDLSPBDdzmU8e8JzpJG58USG3qLsPmAd4erLMbq7GsIdD7GZvIePzT9h-sKFkgVz4Uf_b" \
    "CEU_Ar2xFwgfEdZQvZeswOwmrEaorAGq-GKYb8OuSVDZrqmv74Zea1_VmrcKuPuBbqdcW28OD_4h0nIjpW6s" \
    "7Co5JMj1Sr7mHpw0Qlh92uRStwUHVJgMwumYbEXKZKjDZHYjPubDMotpWQHHAiI21BBrNWQwro-OHQ"

#define VEC_P384_SPKI                                                                      \
    "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEMhE4Xcj2OI8re5jvcL1SB27pMMdFWirPz5CoYQZ4B343UdU0hIYq" \
    "rV+EegWvUoYcrRi+JOGz0AZRIa+Z/KGhsEeHxLy4t+WylVzzwBx/k7YfXIEMRu8M+H8X5lQ4O51u"

#define VEC_ES384                                                                          \
    "eyJhbGciOiJFUzM4NCIsImtpZCI6ImsiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJ4In0.frGK5gaM-Z6TrP_pt" \
    "gYmAvleBWhjo3VCl2Oav3UbtEQjoUEAmDoPyTza5BdlHV7t4xyEKJ2nA8K0UdKfnlFBciHR0y2MfXectLrte" \
    "b8rL2OVeLf2VDQNB03uBGXD7Ids"

#define VEC_P384_X "MhE4Xcj2OI8re5jvcL1SB27pMMdFWirPz5CoYQZ4B343UdU0hIYqrV-EegWvUoYc"

#define VEC_P384_Y "rRi-JOGz0AZRIa-Z_KGhsEeHxLy4t-WylVzzwBx_k7YfXIEMRu8M-H8X5lQ4O51u"

#define VEC_ED448_SPKI                                                                     \
    "MEMwBQYDK2VxAzoAp+FRd00s/0yw8X88TJPDhLqte4Iw2P0d4XRT7Xp9wMGXy+qlBkWoUi7f8z3j8koJgd19" \
    "cVulsruA"

#define VEC_ED448_X "p-FRd00s_0yw8X88TJPDhLqte4Iw2P0d4XRT7Xp9wMGXy-qlBkWoUi7f8z3j8koJgd19cVulsruA"

#define VEC_ED448_JWS                                                                      \
    "eyJhbGciOiJFZERTQSIsImtpZCI6ImsiLCJ0eXAiOiJKV1QifQ.eyJzdWIiOiJ4In0.HkkgGuCwu_alMRoXd" \
    "ejxR6TsloyhyE0_M6XjZXpjXUvt0nCE_B3aEpoqcUh2IGJmg6s2Q-XsQ_iAsV3eqAgbko2-umVKe5ADCnxfW" \
    "U4xF8XpNig_Kyq47yix99CaxtVEY6LuDynIlLOViiYTL05LUzQA"

#define VEC_RSA1024_SPKI                                                                   \
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC2Mfhe1GQHpFssv0DdCWTvPuuBhbXCJMLn61df3H535Gzs" \
    "bnT1LZ8sC8nE7UE4OEAPFfxcVNnVG/CPDQbUvhx/G4j89Yovu/fUgKXsbVqgfymDp7Nh7/os1XB+9Gfu9iPQ" \
    "1kctWlJSbZVZVyNnAR8FEQzDo2yJKWgoOWqy9eDxXQIDAQAB"

#define VEC_RSA1024_N                                                                      \
    "tjH4XtRkB6RbLL9A3Qlk7z7rgYW1wiTC5-tXX9x-d-Rs7G509S2fLAvJxO1BODhADxX8XFTZ1Rvwjw0G1L4c" \
    "fxuI_PWKL7v31ICl7G1aoH8pg6ezYe_6LNVwfvRn7vYj0NZHLVpSUm2VWVcjZwEfBREMw6NsiSloKDlqsvXg" \
    "8V0"

#define VEC_SECP256K1_SPKI                                                                 \
    "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAE/ouun4ca/w6ZSj4zI8+sJrVET+nGpMBDnvE1erm/gy0ypV00/xql" \
    "KFBxWHBpFHgy0WGQNSBsRsqhQzRRLzxFNw=="

#define VEC_DSA_SPKI                                                                       \
    "MIIDRzCCAjoGByqGSM44BAEwggItAoIBAQDSEHMhHWnn+tfIO4yhCGQf4vQlmcBy+4c1KcP4b6D8bQRlOklU" \
    "nnx1ETTb7+IcMOCEhrbXikk1DzSWWTYhQMkhsuZe529osYA8iK0/JxcBESE4Qw6v1vW/jrUCix/mi2gDsfAc" \
    "aQWMJD7A0NRRvuPXgHOgWsHCCLz4+32KoxAydHNWHBetQ2Zo/DrD0VTw5hveUb53UC3i4uRgqwEc1kosU9Lj" \
    "R2hqMuQE3hXufmwkfn84nizwFKbn1GM6F3o6pQH/C5VqMe0uIFXBhA7KFJnQKFJ0xk2y7Z/pBVbtrIPexO+h" \
    "vlhYGgBNZQNfPdIx6Fs/nYGbgbAx0yCEi7s3ouflAiEAlHedHXUJ40QquH3q2ixgyr0r9ZgsrrH2WsJluTH3" \
    "E20CggEBAK7BT42Ifpc1HQWgcbYlL6YxO7TmoNYcjSq1CkPSafRevbC/8yovoP07x9QvouWrcAjbpuQpmkhx" \
    "V15Wwtz5/V7YtiHWkReo2yDoTZ/+Y9IN5oz6JyHfDIDbWgTXARKqFCW6ushCpcWcGe25/Fy3/Re34olsepg0" \
    "SUGKzM445NIpXWEXdY1uCNMdhyv9tylgboji9xrmoxQB6Xzk1G+tTu+pN3juvo3V0kB2aF5VexuPRgLxcQLJ" \
    "HClO/lf0ezrYHVlRa6mszpQlv/iHjEQ+A0qBf+EcZGM1t8TtUEXgjjVrg4O2+E8pGG7eVMuDFmkvicx8dGvi" \
    "C8BQErJXTl+bKA0DggEFAAKCAQBbzvKrodklg3f+FU8lbgqwdrwxEILzxHBQMSawzX3iTyXXgNfr57cUOt1E" \
    "AcZemqLDPnZXJHSAtUC/pg/82FHJ2waEHijbEufLJDVs+OItSVQUsiC6XJ0l+MA6EjHaR8WLyowv4Zev9oy6" \
    "iXp6xYadDrsr3TuEOaMrxB/SR8zi9lQ9LSgr9zbJgiU6bWPSutZOk9dZQb98lF0UAHg7GjArrJu7cDdW0Pvk" \
    "7ZeLQIGWeabU+v1YLrMAH0hD/0TrorHCXlq4ru381hz9ll6rnGvIBhXeIa/YgIdP/5v8TLbH4klmYhtpETX2" \
    "XvicrysAOBHowF1VgcF5SR3nMvnKWx3n"

#define VEC_RSA_CERT_V1                                                                    \
    "MIIClzCCAX8CBgGLz+VoADANBgkqhkiG9w0BAQsFADAPMQ0wCwYDVQQDDARwcm9kMB4XDTI2MTEyNDAwMTgz" \
    "MVoXDTM2MTEyMTAwMTgzMVowDzENMAsGA1UEAwwEcHJvZDCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoC" \
    "ggEBAMkcXNzlS1TmMm1yjaHFTKckWB4CK6V55Dh6KxeQFFVh3nkYbLvLR3bR4iBUs4O8jch89Np03YLzpSOM" \
    "m3hSx0q/K8tsmaTVFouP7N+sPJML+ynF/dwRKBhlLSSFhAayYrCTqhKlms4jx0/oydALg5JTJAywfn6Qn85W" \
    "b7HLBdarJP/a840kheDBtEQvaBEyq7GIb0pBWi3oS/VVfsBlTKlfniDuGAoV0WKNhY44HMhF8xVt6kFkVzxk" \
    "5OF4QoKifZp9DXpXYamupO7s/ekBS1KAbG/3dtHwwtZYqVWOEvQ3yfZ8b1FlGsL2Bfsfg2A2K+Q+q5CD1vFb" \
    "pp4Gzoqt0zsCAwEAATANBgkqhkiG9w0BAQsFAAOCAQEAGBmCDsuWeRMy3weLJk4wzFnr570usDVDrsl9Ilf3" \
    "+ASJ1Ejn8yV2SCqaMKsH7QqrXEhOGH2DwmInfGHZWBp8wgKKX3pFRR0E8ZFbi50lXvMYAptXWSR6w891DrIM" \
    "WSZ25DPxrKYg+bQx1MY64C7SaJ6rx3jzM9NDRWaBWDL+uJAc9ghuux2Zkcpd4djpq511tj+qk9nM992sNMwD" \
    "Z7OoPAJvhLdltfa8nlKf1dynEp9PUJo4dbdwOTYpq1AyPgCIWKMeHqFc/qPp7/QtY8U9DRMudPRaywGZM+x2" \
    "1aOQWihOZa3jOf5b/4EatxUUBmw8PxweEwESLxuww3gUvNsj7g=="

#define VEC_RSA_CERT_V1_FROM 1795479511
#define VEC_RSA_CERT_V1_TO 2110839511

#define VEC_RSA_CERT_V1_SHA256 "y9WF1Lilx72oHbcrATDKlw2iblkWPvQIgA1rYhWp6AE"

#define VEC_RSA_SPKI_SHA256 "KhsqKp_ulvkyxzhLg0XD_jQAKyc7O4bRmHQyH-7CM0U"

#define VEC_RSA_THUMBPRINT "cllxbV8V_1Qjl3h3nHRu67wKjGEYnaIuy6lfl8iT35M"

#define VEC_P384_CERT                                                                      \
    "MIIBTjCB1KADAgECAgEHMAoGCCqGSM49BAMCMBExDzANBgNVBAMMBnNlY29uZDAgFw0yNDAxMDIwMzA0MDVa" \
    "GA8yMDUxMDEwMjAzMDQwNVowETEPMA0GA1UEAwwGc2Vjb25kMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEMhE4" \
    "Xcj2OI8re5jvcL1SB27pMMdFWirPz5CoYQZ4B343UdU0hIYqrV+EegWvUoYcrRi+JOGz0AZRIa+Z/KGhsEeH" \
    "xLy4t+WylVzzwBx/k7YfXIEMRu8M+H8X5lQ4O51uMAoGCCqGSM49BAMCA2kAMGYCMQC5bK8xmC7lOMMUXxQ4" \
    "R9LKjxsxYJLvYt/4vm600zLYo6CehbyNOm0eLjRN1b0AiX8CMQCzrBwDU4UUvP68LmT7qxzelZpPBuZG39G0" \
    "bjdKkuFzNUlOn5007H9wLDDeLKGGoBU="

#define VEC_RSA_CERT_RENEWED                                                               \
    "MIICnzCCAYegAwIBAgIBBzANBgkqhkiG9w0BAQsFADASMRAwDgYDVQQDDAdyZW5ld2VkMCAXDTI0MDEwMjAz" \
    "MDQwNVoYDzIwNTEwMTAyMDMwNDA1WjASMRAwDgYDVQQDDAdyZW5ld2VkMIIBIjANBgkqhkiG9w0BAQEFAAOC" \
    "AQ8AMIIBCgKCAQEAyRxc3OVLVOYybXKNocVMpyRYHgIrpXnkOHorF5AUVWHeeRhsu8tHdtHiIFSzg7yNyHz0" \
    "2nTdgvOlI4ybeFLHSr8ry2yZpNUWi4/s36w8kwv7KcX93BEoGGUtJIWEBrJisJOqEqWaziPHT+jJ0AuDklMk" \
    "DLB+fpCfzlZvscsF1qsk/9rzjSSF4MG0RC9oETKrsYhvSkFaLehL9VV+wGVMqV+eIO4YChXRYo2FjjgcyEXz" \
    "FW3qQWRXPGTk4XhCgqJ9mn0Neldhqa6k7uz96QFLUoBsb/d20fDC1lipVY4S9DfJ9nxvUWUawvYF+x+DYDYr" \
    "5D6rkIPW8VumngbOiq3TOwIDAQABMA0GCSqGSIb3DQEBCwUAA4IBAQCVygFOsFwIiyk5rQ7r79Vifgit0P0U" \
    "WynU7xH/cTx+QOD+37fbK/SUncYVa4WoEhB98dqpG7523/1USu/E2N7qiR3oOdurs/bQRc6YyJMOKSxfDHAZ" \
    "ylf4MaEhVEyxh9zcmHE2XJkIUXJ9d4/CWk1R6GG9RofR6XL/mKNUR474m1ESUUTy2FeSJdEZgNVhB9c6gS2Y" \
    "zf3jHznMgxmzmSVa5tjMKdiztE6gyBhmGCiRrDZN5KzAEdsmZJJwlUpJHTKPHGdckHtG/NAPsxAYBHLU6q3l" \
    "6juQj6mppn3wWQvGIB4ONGyoDwHcD8lHWmnPZaGKAJ1YrilU6YpVaTj+FZq6"

#define VEC_P384_SPKI_EXPLICIT                                                             \
    "MIIBzDCCAWQGByqGSM49AgEwggFXAgEBMDwGByqGSM49AQECMQD/////////////////////////////////" \
    "/////////v////8AAAAAAAAAAP////8wewQw//////////////////////////////////////////7/////" \
    "AAAAAAAAAAD////8BDCzMS+n4j7n5JiOBWvj+C0ZGB2cbv6BQRIDFAiPUBOHWsZWOY2KLtGdKoXI7dPsKu8D" \
    "FQCjNZJqoxmieh0AiWpnc6SCes2scwRhBKqHyiK+iwU3jrHHHvMgrXRuHTtii6ebmFn3QeCCVCo4VQLyXb9V" \
    "KWw6VF44cnYKtzYX3kqWJixvXZ6Yv5KS3Cn49B29KJoUfOnaMRO18LjACmCxzh1+gZ16Qx18kOoOXwIxAP//" \
    "/////////////////////////////8djTYH0Ny3fWBoNskiwp3rs7BlqzMUpcwIBAQNiAAQyEThdyPY4jyt7" \
    "mO9wvVIHbukwx0VaKs/PkKhhBngHfjdR1TSEhiqtX4R6Ba9ShhytGL4k4bPQBlEhr5n8oaGwR4fEvLi35bKV" \
    "XPPAHH+Tth9cgQxG7wz4fxfmVDg7nW4="

#define VEC_P384_SPKI_COMPRESSED                                                           \
    "MEYwEAYHKoZIzj0CAQYFK4EEACIDMgACMhE4Xcj2OI8re5jvcL1SB27pMMdFWirPz5CoYQZ4B343UdU0hIYq" \
    "rV+EegWvUoYc"

#endif
