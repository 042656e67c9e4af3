// A bare tree of four levels of 512 entries over 48-bit addresses: what a page table costs that checks nothing, counts nothing and has one
// format, as the reference for ours. Entries are addresses of this process with bit 0 set.
#ifndef RADIX_TREE_H
#define RADIX_TREE_H

#include <stdint.h>

typedef struct radix_tree radix_tree;

radix_tree *_Nonnull radix_tree_create(void);
void radix_tree_destroy(radix_tree *_Nonnull tree);
// Maps a page, with the tables that it needs.
void radix_tree_map(radix_tree *_Nonnull tree, uint64_t address, uint64_t entry);
// Takes a page out, and returns its entry; tables stay.
uint64_t radix_tree_unmap(radix_tree *_Nonnull tree, uint64_t address);
// The entry of a page; 0 for none.
uint64_t radix_tree_find(const radix_tree *_Nonnull tree, uint64_t address);

#endif
