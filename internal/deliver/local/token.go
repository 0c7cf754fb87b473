package local

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"

	"sekisho/internal/deliver/mailbox"
	"sekisho/internal/mail"
	"sekisho/internal/tok822"
)

// tokens delivers to all that a text names, and counts it (token.c).
func (d *delivery) tokens(s state, text string) (st status, count int) {
	for _, a := range tok822.Parse(text, 0).Addresses() {
		count++
		if d.token(s, a.Internal(), a.External()) {
			st = again
		}
	}
	return st, count
}

// tokensOf delivers to all that the lines of a file name, up to the first
// trouble. Lines that begin with # are remarks.
func (d *delivery) tokensOf(s state, file io.Reader) (st status, count int) {
	in := bufio.NewReader(file)
	for {
		line, err := in.ReadString('\n')
		if line != "" && line[0] != '#' {
			st, n := d.tokens(s, strings.TrimRight(line, "\n"))
			count += n
			if st == again {
				return st, count
			}
		}
		if errors.Is(err, io.EOF) {
			return fine, count
		}
		if err != nil {
			return d.add(s, deferred("4.3.0", "error reading forwarding file: "+mailbox.Reason(err))), count
		}
	}
}

// token delivers to one element of an alias, a .forward file or a list.
func (d *delivery) token(s state, internal, external string) status {
	const include = ":include:"
	switch {
	case strings.HasPrefix(internal, "/"):
		return d.file(s, internal)
	case strings.HasPrefix(internal, "~"):
		return d.homeFile(s, internal)
	case strings.HasPrefix(internal, "|"):
		if !slices.Contains(d.a.toCommands, s.kind) {
			return d.add(s, bounced("5.7.1", "mail to command is restricted"))
		}
		return d.command(s, internal[1:])
	case len(internal) >= len(include) && strings.EqualFold(internal[:len(include)], include):
		return d.include(s, internal[len(include):])
	}
	return d.resolve(s, d.a.o.Resolver.RewriteExternal(external))
}

// homeFile delivers to ~/file; other users' homes are nobody's business.
func (d *delivery) homeFile(s state, name string) status {
	switch {
	case !strings.HasPrefix(name, "~/"):
		d.warn("bad home directory syntax for: %s", name)
	case s.rights.home == "":
		d.warn("unknown home directory for: %s", name)
	default:
		return d.file(s, strings.TrimSuffix(s.rights.home, "/")+name[1:])
	}
	return d.add(s, misconfigured)
}

// resolve delivers to an address in standard form, external (resolve.c).
func (d *delivery) resolve(s state, addr string) status {
	s.level++
	res := d.a.o.Resolver.Resolve(d.src, d.r.Envelope.Sender, mail.Unquote(addr))
	switch {
	case res.Failed:
		return d.add(s, deferred("4.3.0", "address resolver failure"))
	case res.Invalid:
		return d.add(s, bounced("5.1.3", "bad recipient address syntax: "+res.Recipient))
	}
	s.to.Address = res.Recipient
	if s.hasRest {
		s.to.Address = withExtension(res.Recipient, s.local[len(s.user):len(s.user)+1], s.rest)
	}
	if res.Transport == d.a.o.Name {
		return d.address(s)
	}
	return d.indirect(s)
}

// withExtension puts an extension into an address.
func withExtension(addr, delimiter, ext string) string {
	at := strings.LastIndexByte(addr, '@')
	if at < 0 {
		at = len(addr)
	}
	return addr[:at] + delimiter + ext + addr[at:]
}
