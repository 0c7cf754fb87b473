// Package rewrite does what trivial-rewrite(8) does: it brings addresses into
// standard form, tells to which class a recipient's domain belongs and by which
// transport its mail leaves, and searches address tables in Postfix's order.
//
// It is pure: tables are asked through an evidence.Source. It expands no
// aliases beyond one step at a time (Find, Map) and delivers nothing.
// ADDRESS_CLASS_README, ADDRESS_REWRITING_README, transport(5), virtual(5).
package rewrite
