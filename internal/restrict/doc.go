// Package restrict is Postfix's SMTP access language: it compiles the eight
// restriction lists of a configuration and decides, command by command, what
// the server answers. See smtpd_check.c's manual pages postconf(5), access(5)
// and SMTPD_ACCESS_README.
//
// It is pure. Eval reads facts, asks an evidence.Source, and returns an
// Outcome; it opens nothing, reads no clock and writes no log (the lines it
// would log are part of the Outcome). The server, explain, replay and proof
// differ only in the Source they hand in.
//
// A reader begins with stage.go (which lists run when), goes on with walk.go
// (how a list is walked), then picks a restriction: generic.go, client.go,
// helo.go, address.go, unverified.go, relay.go, login.go, unlisted.go, dnsbl.go; access
// tables are in access.go and their right-hand sides in action.go.
package restrict
