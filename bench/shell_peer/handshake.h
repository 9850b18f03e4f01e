/* The dialer's side of lib/guestlink/handshake.py, for purpose VSHD; SHA-256 as in FIPS 180-4, HMAC as in RFC 2104.
 * The peer's own proof is received and not checked: a measurement has no secret. */
#include <stdint.h>
#include <string.h>

enum { HEADER = 10, NONCE = 32, PROOF = 32, PURPOSE_VSHD = 5 };

static uint32_t rotated(uint32_t word, int bits) { return word >> bits | word << (32 - bits); }

/* The first 32 bits of the fractional part of a prime's root, by bisection in integers: 2 for square, 3 for cube. */
static uint32_t fraction(unsigned prime, int power) {
    uint64_t low = 0, high = 1ull << 37;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        unsigned __int128 value = (unsigned __int128)middle * middle;
        /* middle is the root times 2^32; a cube would need 3 * 37 bits, which fits into 128. */
        if (power == 3) value *= middle;
        if (value <= (unsigned __int128)prime << 32 * power) low = middle;
        else high = middle;
    }
    return (uint32_t)low;
}

static void sha256(const uint8_t *data, size_t size, uint8_t out[32]) {
    static uint32_t constants[64], start[8];
    uint8_t padded[512] = {0};
    uint32_t state[8];
    if (!constants[0])
        for (unsigned prime = 2, count = 0; count < 64; prime++) {
            unsigned divisor = 2;
            while (prime % divisor) divisor++;
            if (divisor < prime) continue;
            if (count < 8) start[count] = fraction(prime, 2);
            constants[count++] = fraction(prime, 3);
        }
    size_t total = (size + 9 + 63) / 64 * 64;
    memcpy(padded, data, size);
    padded[size] = 0x80;
    for (int index = 0; index < 8; index++) padded[total - 1 - index] = (uint64_t)size * 8 >> 8 * index;
    memcpy(state, start, sizeof state);
    for (size_t block = 0; block < total; block += 64) {
        uint32_t w[64], v[8];
        for (int index = 0; index < 64; index++) {
            const uint8_t *four = padded + block + 4 * index;
            if (index < 16) {
                w[index] = (uint32_t)four[0] << 24 | four[1] << 16 | four[2] << 8 | four[3];
                continue;
            }
            uint32_t a = w[index - 15], b = w[index - 2];
            w[index] = w[index - 16] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) + w[index - 7] +
                       (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
        }
        memcpy(v, state, sizeof v);
        for (int index = 0; index < 64; index++) {
            uint32_t first = v[7] + (rotated(v[4], 6) ^ rotated(v[4], 11) ^ rotated(v[4], 25)) +
                             ((v[4] & v[5]) ^ (~v[4] & v[6])) + constants[index] + w[index];
            uint32_t second = (rotated(v[0], 2) ^ rotated(v[0], 13) ^ rotated(v[0], 22)) +
                              ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
            memmove(v + 1, v, 7 * sizeof *v);
            v[4] += first;
            v[0] = first + second;
        }
        for (int index = 0; index < 8; index++) state[index] += v[index];
    }
    for (int index = 0; index < 32; index++) out[index] = state[index / 4] >> (24 - index % 4 * 8);
}

static void hmac(const char *token, const uint8_t *data, size_t size, uint8_t out[32]) {
    uint8_t inner[64 + 256], outer[64 + 32];
    memset(inner, 0x36, 64);
    memset(outer, 0x5c, 64);
    for (size_t index = 0; token[index]; index++) inner[index] ^= token[index], outer[index] ^= token[index];
    memcpy(inner + 64, data, size);
    sha256(inner, 64 + size, outer + 64);
    sha256(outer, sizeof outer, out);
}

/* The answer to a challenge of HEADER + NONCE bytes; returns its size. The nonce is no secret and never repeats. */
static size_t respond(const char *token, const uint8_t *challenge, uint64_t number, uint8_t *out) {
    static const char text[] = "guestlink handshake\0\1dialer";
    uint8_t message[256], *end = message;
    memcpy(end, text, sizeof text), end += sizeof text;
    *end++ = PURPOSE_VSHD;
    memcpy(end, challenge + HEADER, NONCE), end += NONCE;
    memset(end, 0, NONCE);
    memcpy(end, &number, sizeof number);
    memcpy(out, challenge, HEADER);
    out[HEADER] = PURPOSE_VSHD;
    memcpy(out + HEADER + 1, end, NONCE);
    hmac(token, message, end + NONCE - message, out + HEADER + 1 + NONCE);
    return HEADER + 1 + NONCE + PROOF;
}
