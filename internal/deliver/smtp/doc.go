// Package smtp delivers messages to other servers by SMTP or LMTP, as Postfix's
// smtp(8) and lmtp(8) do: it finds the hosts of the next hop, tries them in order
// of preference, speaks TLS when it is offered, and reports for every recipient
// what became of it in Postfix's words.
//
// A file for each step: agent.go (which hosts, in which order), lookup.go (the
// DNS), lmtp.go (sockets), session.go (connection, greeting), features.go (what
// the host can), starttls.go, transfer.go (the message).
//
// It keeps no connection open between messages, does not log in to the next
// hop, and converts no 8-bit text for servers that take only 7. RFC 5321, RFC
// 1870, RFC 2033, RFC 2920, RFC 3207, RFC 3461, RFC 6531, RFC 7505.
package smtp
