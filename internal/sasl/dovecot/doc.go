// Package dovecot checks passwords by asking Dovecot's authentication service,
// or whoever speaks its protocol: smtpd_sasl_type = dovecot. Its Backend answers
// a client word for word as Postfix's smtpd does.
//
// Sessions do not hold connections. All exchanges of a backend share one, as the
// protocol allows, told apart by their request ids; it is made anew when it is
// lost, and after a while in use, so that a reloaded Dovecot is noticed. While
// Dovecot is away, the mechanisms it last had are offered, and AUTH is answered
// with a temporary failure.
//
// It does not filter mechanisms (smtpd_sasl_security_options is smtpd's) and
// does not decide who may log in. See package authproto for the protocol.
package dovecot
