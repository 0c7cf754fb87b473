package restrict

import (
	"strings"

	"sekisho/internal/mail"
)

const space = " \t\r\n\v\f"

// splitStatus takes an enhanced status code off the front of text; without
// one it returns def.
func splitStatus(def, text string) (dsn, rest string) {
	text = strings.TrimLeft(text, space)
	head, tail := text, ""
	if i := strings.IndexAny(text, space); i >= 0 {
		head, tail = text[:i], text[i:]
	}
	if mail.IsStatus(head) {
		return head, strings.TrimLeft(tail, space)
	}
	return def, text
}

// fixStatus maps a status code about a mailbox, X.1.Y, onto the one that fits
// the class the reply speaks of: the same table entry serves senders,
// recipients and hosts.
func (r *run) fixStatus(dsn, class string) string {
	p := strings.Split(dsn, ".")
	if len(p) != 3 || p[1] != "1" {
		return dsn
	}
	mapped := dsn
	switch class {
	case classSender:
		mapped = p[0] + ".1." + senderDetail(p[2])
	case classRecipient:
		mapped = p[0] + ".1." + recipientDetail(p[2])
	default:
		mapped = p[0] + ".0.0"
	}
	if mapped != dsn {
		r.logf("mapping DSN status " + dsn + " into " + class + " status " + mapped)
	}
	return mapped
}

// senderDetail maps the details about recipient mailboxes (RFC 3463 section
// 3.2) onto those about senders: 7 bad syntax, 8 bad system address.
func senderDetail(d string) string {
	switch d {
	case "1", "3", "4", "6", "7":
		return "7"
	case "2", "8":
		return "8"
	}
	return "0"
}

func recipientDetail(d string) string {
	switch d {
	case "1", "2", "3", "4", "5", "6":
		return d
	case "7":
		return "3"
	case "8":
		return "2"
	}
	return "0"
}
