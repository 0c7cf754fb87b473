package smtp

import (
	"bufio"
	"slices"

	"sekisho/internal/mail"
)

// needsUTF8 reports whether the message cannot travel without SMTPUTF8: the
// sender asked for it, and there is text in an address or in the header that
// is not ASCII.
func (d *delivery) needsUTF8() bool {
	env := d.r.Envelope
	if !env.SMTPUTF8 {
		return false
	}
	if d.utf8 == nil {
		needs := !isASCII(env.Sender) || !d.headerIsASCII() ||
			slices.ContainsFunc(d.r.Recipients, func(r mail.Recipient) bool { return !isASCII(r.Address) })
		d.utf8 = &needs
	}
	return *d.utf8
}

// headerIsASCII looks at the header only. A message that cannot be read will
// fail when it is sent.
func (d *delivery) headerIsASCII() bool {
	content, err := d.r.Content()
	if err != nil {
		return true
	}
	defer content.Close()
	r := bufio.NewReader(content)
	for last := byte('\n'); ; {
		c, err := r.ReadByte()
		if err != nil || c == '\n' && last == '\n' {
			return true
		}
		if c > 127 {
			return false
		}
		last = c
	}
}

func isASCII(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(c byte) bool { return c > 127 })
}
