// Package smtpd is the SMTP server: it speaks with one client over one
// connection, asks package restrict what to answer, and hands what it accepts
// to package cleanup. Replies and log lines are those of Postfix 3.7's
// smtpd(8), with the safer defaults of later versions for bare newlines and
// unauthorised pipelining.
//
// It listens on nothing (Serve gets a connection), looks nothing up itself but
// the client's name, and stores nothing. RFC 5321, RFC 1870 (SIZE), RFC 2034,
// RFC 2920 (PIPELINING), RFC 3030 (CHUNKING), RFC 3207 (STARTTLS), RFC 3461
// (DSN), RFC 4954 (AUTH), RFC 6152 (8BITMIME), RFC 6531 (SMTPUTF8), and
// Postfix's XCLIENT_README and XFORWARD_README.
//
// A reader begins with conn.go: one session is one loop and one switch over
// the commands. Each command is a method that returns its reply; they are in
// verbs.go, mail.go, data.go, auth.go, starttls.go and xclient.go.
package smtpd
