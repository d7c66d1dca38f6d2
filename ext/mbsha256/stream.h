/* SHA-256 of one message that comes piece by piece, from its beginning or from a state that mbsha256_digest_many() kept. */
#ifndef BATCHSEAL_MBSHA256_STREAM_H
#define BATCHSEAL_MBSHA256_STREAM_H

#include "mbsha256/mbsha256.h"

void mbsha256_stream_begin(mbsha256_stream *s);
/* Adds bytes. The message must stay below 2^61 bytes (FIPS 180-4 section 1). */
void mbsha256_stream_add(const mbsha256_engine *engine, mbsha256_stream *s, const uint8_t *data, size_t n);
/* Writes the digest of what was added. The stream itself stays as it is. */
void mbsha256_stream_digest(const mbsha256_engine *engine, const mbsha256_stream *s,
                            uint8_t digest[MBSHA256_DIGEST_BYTES]);

#endif
