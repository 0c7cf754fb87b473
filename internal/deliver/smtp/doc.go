// Package smtp delivers messages to other servers by SMTP or LMTP, as Postfix's
// smtp(8) and lmtp(8) do: it finds the hosts of the next hop, tries them in order
// of preference, speaks TLS when it is offered, and reports for every recipient
// what became of it in Postfix's words.
//
// A file for each step: agent.go (which hosts, in which order), lookup.go (the
// DNS), lmtp.go (sockets), reuse.go (connections kept between messages),
// session.go (connection, greeting), features.go (what the host can),
// starttls.go, login.go, transfer.go (the transaction), command.go (its commands),
// content.go, chunks.go and filter.go (the message, and what changes on its way
// out).
//
// What TLS has to be is decided in tlspolicy.go, dane.go and requiretls.go, judged
// in verify.go, and told in report.go.
//
// RFC 5321, RFC 1870, RFC 2033, RFC 2920,
// RFC 3207, RFC 3461, RFC 6152, RFC 6531, RFC 7505,
// RFC 7672 (DANE), RFC 8461 (MTA-STS), RFC 8689 (REQUIRETLS).
package smtp
