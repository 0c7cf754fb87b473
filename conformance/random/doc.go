// Package random plays random sessions under random restriction lists to the
// Postfix of this machine and compares: the engine's decisions (TestEngine) and
// the whole server (TestServer) must answer and log the same. What the
// transcripts of package conformance do not think of, it stumbles upon.
//
// RANDOM_SEED, RANDOM_VARIANTS (configurations) and RANDOM_SESSIONS (for each)
// in the environment say what and how much to play. It has tests only.
package random
