// Package random plays random sessions under random restriction lists and match
// lists to the Postfix of this machine, and compares the engine's decisions, made
// in the process, with its replies and log. The whole server is what package diff
// compares, with much more around the lists.
//
// RANDOM_SEED, RANDOM_VARIANTS (configurations) and RANDOM_SESSIONS (for each)
// in the environment say what and how much to play. It has tests only.
package random
