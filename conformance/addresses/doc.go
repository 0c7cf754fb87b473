// Package addresses asks the Postfix of this machine about addresses, at
// random, and compares: trivial-rewrite's answers, over its own socket, with
// those of package rewrite (TestResolver).
//
// ADDRESSES_SEED, ADDRESSES_VARIANTS (configurations) and ADDRESSES_CASES (for
// each) in the environment say what and how much to ask. It has tests only.
package addresses
