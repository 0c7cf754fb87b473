// Package qmgr takes messages out of the queue when they are due, finds out by
// which transport each recipient goes, has the delivery agents deliver, and
// takes down what came of it: delivered, to be tried again later, or returned
// to the sender. It does the job of Postfix's qmgr(8).
//
// It delivers nothing itself and rewrites nothing; aliases were expanded by
// cleanup. Log lines are Postfix's.
package qmgr
