/* A set of numbers, as bits. */
#include "pdfscan/pdf_seen.h"

bool pdf_start_seen(pdf_seen *seen, pdf_arena *arena, uint64_t count) {
    *seen = (pdf_seen){.bits = pdf_alloc_zeroed(arena, (size_t)count / 8 + 1), .count = count};
    return seen->bits != NULL;
}

bool pdf_is_first_time(pdf_seen *seen, uint64_t number) {
    if (number >= seen->count) return true;
    uint8_t bit = (uint8_t)(1u << number % 8), *byte = &seen->bits[number / 8];
    bool first = !(*byte & bit);
    *byte |= bit;
    return first;
}
