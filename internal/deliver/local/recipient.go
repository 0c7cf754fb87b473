package local

import (
	"fmt"
	"slices"
	"strings"

	"sekisho/internal/deliver"
	"sekisho/internal/deliver/mailbox"
	"sekisho/internal/mail"

	"golang.org/x/sys/unix"
)

// recipient delivers to one recipient and to all that it stands for.
func (d *delivery) recipient(to mail.Recipient) deliver.Result {
	s := state{to: to, sender: d.r.Envelope.Sender}
	st := d.address(s)
	d.send(s, st)
	if !d.expanded && len(d.parts) == 1 && d.parts[0].To == to && d.parts[0].Owner == "" {
		return d.parts[0].Result
	}
	res := (&deliver.Expansion{Parts: d.parts, Alias: d.expanded, List: d.list}).Sum()
	if res.Relay == "" {
		res.Relay = d.a.o.Name
	}
	return res
}

// address delivers to a local address (recipient.c: deliver_recipient).
func (d *delivery) address(s state) status {
	s.level++
	if s.level > maxLevel {
		d.warn("recipient nesting limit exceeded for %s", s.to.Address)
		return d.add(s, bounced("5.4.6", "recipient nesting limit exceeded"))
	}
	if d.beenHere("recipient %d %s", s.level, s.to.Address) {
		return fine
	}
	if d.had[strings.ToLower(s.to.Address)] {
		return d.addOwned(s, bounced("5.4.6", "mail forwarding loop for "+s.to.Address))
	}
	if s.delivered == "" {
		s.delivered = s.to.Address
	}
	s = d.split(s)
	if s.user == "" {
		return d.add(s, bounced("5.1.3", fmt.Sprintf("null username in \"%s\"", s.to.Address)))
	}
	return d.switchTo(s)
}

// split divides the address into user, extension and domain.
func (d *delivery) split(s state) state {
	var hasDomain bool
	s.local, s.domain, hasDomain = mail.SplitAddress(strings.ToLower(s.to.Address))
	if !hasDomain {
		d.warn("no @ in recipient address: %s", s.local)
	}
	s.user = d.a.o.Resolver.StripExtension(s.local)
	s.ext, s.hasExt = "", false
	if len(s.user) < len(s.local) {
		s.ext, s.hasExt = s.local[len(s.user)+1:], true
	}
	if strings.Contains(s.ext, "/") {
		d.warn("%s: address with illegal extension: %s", d.r.QueueID, s.local)
		s.local, s.ext, s.hasExt = s.user, "", false
	}
	s.rest, s.hasRest = s.ext, s.hasExt
	return s
}

// switchTo finds out what a local name is: an alias, mail for another user that
// has to travel, a user (deliver_switch).
func (d *delivery) switchTo(s state) status {
	s.level++
	if name, ok := strings.CutPrefix(s.to.Address, `\`); ok {
		s.to.Address, s.local, s.user = name, strings.TrimPrefix(s.local, `\`), strings.TrimPrefix(s.user, `\`)
		if st, done := d.mailbox(s); done {
			return st
		}
		return d.unknown(s)
	}
	a := s
	a.rest, a.hasRest = "", false
	if st, done := d.alias(a, s.local); done {
		return st
	}
	if s.hasExt {
		a.rest, a.hasRest = s.ext, slices.Contains(d.a.propagate, "alias")
		if st, done := d.alias(a, s.user); done {
			return st
		}
		s.rest, s.hasRest = s.ext, true
	}
	if s.owner != "" && !strings.EqualFold(s.owner, s.user) || s.kind == "include" {
		return d.indirect(s)
	}
	return d.toUser(s)
}

// toUser delivers to a user: the .forward file, the mailbox, nobody.
func (d *delivery) toUser(s state) status {
	if d.a.needsHome {
		u, st, failed := d.lookUp(s)
		if failed {
			return st
		}
		if u != nil {
			err := mailbox.AsOwner(u.UID, u.GID, func() error { return unix.Stat(u.Home, new(unix.Stat_t)) })
			if err != nil {
				return d.add(s, deferred("4.3.0", "cannot access home directory "+u.Home+": "+mailbox.Reason(err)))
			}
		}
	}
	if st, done := d.dotForward(s); done {
		return st
	}
	if st, done := d.mailbox(s); done {
		return st
	}
	return d.unknown(s)
}

// lookUp finds the state's user; nil if there is none.
func (d *delivery) lookUp(s state) (u *User, st status, failed bool) {
	u, err := d.a.o.Users.ByName(s.user)
	if err != nil {
		d.warn("error looking up passwd info for %s: %v", s.user, err)
		return nil, d.add(s, deferred("4.0.0", "user lookup error")), true
	}
	return u, fine, false
}
