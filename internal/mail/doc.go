// Package mail is the vocabulary of the server: addresses, replies, the facts
// of a session. It does no I/O and knows no configuration; everything above
// speaks in its words. RFC 5321, RFC 3463, and the attribute names of
// Postfix's SMTPD_POLICY_README.
package mail
