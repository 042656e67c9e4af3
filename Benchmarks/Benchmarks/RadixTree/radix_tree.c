#include "radix_tree.h"

#include <stdlib.h>

struct radix_tree {
    uint64_t *root;
};

static uint64_t *table(void) {
    uint64_t *made = aligned_alloc(4096, 4096);
    if (!made) abort();
    for (int i = 0; i < 512; i++) made[i] = 0;
    return made;
}

static uint64_t *below(uint64_t entry) { return (uint64_t *)(entry & ~(uint64_t)1); }

radix_tree *radix_tree_create(void) {
    radix_tree *tree = malloc(sizeof *tree);
    if (!tree) abort();
    tree->root = table();
    return tree;
}

static void destroy(uint64_t *entries, int level) {
    for (int i = 0; level > 0 && i < 512; i++)
        if (entries[i]) destroy(below(entries[i]), level - 1);
    free(entries);
}

void radix_tree_destroy(radix_tree *tree) {
    destroy(tree->root, 3);
    free(tree);
}

void radix_tree_map(radix_tree *tree, uint64_t address, uint64_t entry) {
    uint64_t *entries = tree->root;
    for (int shift = 39; shift > 12; shift -= 9) {
        uint64_t *place = entries + (address >> shift & 511);
        if (!*place) *place = (uint64_t)table() | 1;
        entries = below(*place);
    }
    entries[address >> 12 & 511] = entry;
}

// The place of a page's entry; NULL where a table is missing.
static uint64_t *leaf(const radix_tree *tree, uint64_t address) {
    uint64_t *entries = tree->root;
    for (int shift = 39; shift > 12; shift -= 9) {
        uint64_t entry = entries[address >> shift & 511];
        if (!entry) return NULL;
        entries = below(entry);
    }
    return entries + (address >> 12 & 511);
}

uint64_t radix_tree_unmap(radix_tree *tree, uint64_t address) {
    uint64_t *place = leaf(tree, address);
    if (!place) return 0;
    uint64_t entry = *place;
    *place = 0;
    return entry;
}

uint64_t radix_tree_find(const radix_tree *tree, uint64_t address) {
    uint64_t *place = leaf(tree, address);
    return place ? *place : 0;
}
