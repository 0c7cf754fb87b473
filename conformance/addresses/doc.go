// Package addresses asks the Postfix of this machine about addresses, at
// random, and compares: trivial-rewrite's answers with those of package rewrite
// (TestResolver), the envelopes and headers that cleanup leaves in the queue
// with those of package cleanup (TestCleanup), both over the daemons' own
// sockets; and whom smtpd accepts with what package restrict says of unlisted
// addresses, relaying and access by address (TestRecipients).
//
// ADDRESSES_SEED, ADDRESSES_VARIANTS (configurations) and ADDRESSES_CASES (for
// each) in the environment say what and how much to ask. It has tests only.
package addresses
