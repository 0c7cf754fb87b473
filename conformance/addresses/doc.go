// Package addresses asks the Postfix of this machine about addresses, at
// random, and compares: trivial-rewrite's answers with those of package rewrite
// (TestResolver), and the envelopes and headers that cleanup leaves in the queue
// with those of package cleanup (TestCleanup). Both daemons are asked over
// their own sockets, so that no SMTP server stands between.
//
// ADDRESSES_SEED, ADDRESSES_VARIANTS (configurations) and ADDRESSES_CASES (for
// each) in the environment say what and how much to ask. It has tests only.
package addresses
