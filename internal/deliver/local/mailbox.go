package local

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"sekisho/internal/deliver"
	"sekisho/internal/deliver/mailbox"
)

// mailbox delivers to a user's mailbox, or whatever takes its place; done is
// false when there is no such user (mailbox.c).
func (d *delivery) mailbox(s state) (st status, done bool) {
	s.level++
	if d.beenHere("mailbox %s", s.local) {
		return fine, true
	}
	if st, done := d.byTable(s, d.a.transportMaps, d.a.mailboxTransport); done {
		return st, true
	}
	u, st, failed := d.lookUp(s)
	if failed || u == nil {
		return st, failed
	}
	s.rights = rightsOf(u)
	line := d.a.mailboxCommand
	if value, found, failed := d.lookFor(d.a.commandMaps, s.user); failed {
		return d.add(s, deferred("4.3.0", "table lookup failure")), true
	} else if found {
		line = value
	}
	if line != "" {
		return d.command(s, line), true
	}
	box, err := d.a.box(s)
	if err == nil {
		err = d.a.mayWriteAs(s.rights)
	}
	if err != nil {
		d.warn("%v", err)
		return d.add(s, deferred("4.3.5", "mail system configuration error")), true
	}
	return d.store(s, box), true
}

// box is where a user's mail goes. In a spool directory that its group may write
// to, the mailbox is that group's.
func (a *Agent) box(s state) (mailbox.Box, error) {
	box := mailbox.Box{UID: s.rights.uid, GID: s.rights.gid, ErrorDSN: "5.2.0"}
	switch {
	case strings.HasPrefix(s.user, ".") || strings.Contains(s.user, "/"):
		return box, fmt.Errorf("user %q: no name for a mailbox file", s.user)
	case a.home != "":
		box.Path = s.rights.home + "/" + a.home
	case strings.HasSuffix(a.spool, "/"):
		box.Path = a.spool + s.user + "/"
	default:
		box.Path = a.spool + "/" + s.user
		if st, err := os.Stat(a.spool); err == nil && st.Mode()&0o022 == 0o020 {
			if sys, ok := st.Sys().(*syscall.Stat_t); ok {
				box.GID = int(sys.Gid)
			}
		}
	}
	return box, nil
}

// mayWriteAs says why files cannot be written as a user.
func (a *Agent) mayWriteAs(r rights) error {
	if !mailbox.Privileged() && os.Geteuid() != r.uid {
		return fmt.Errorf("cannot deliver as UID %d; run as root to deliver for other users", r.uid)
	}
	return nil
}

// store delivers into a mailbox, a Maildir or an mbox.
func (d *delivery) store(s state, box mailbox.Box) status {
	kind, prefix := "mailbox", "cannot update mailbox "+box.Path+" for user "+s.user+". "
	if strings.HasSuffix(box.Path, "/") {
		kind, prefix = "maildir", ""
	}
	if d.r.Probe {
		return d.sent(s, "delivers to %s", kind)
	}
	if !d.a.frozen && kind == "mailbox" {
		s.delivered = s.to.Address
	}
	err := d.a.store.Deliver(d.ctx, box, d.copy(s))
	switch {
	case err == nil:
		return d.sent(s, "delivered to %s", kind)
	case kind == "maildir":
		return d.addOwned(s, failure(err, prefix))
	}
	return d.add(s, failure(err, prefix))
}

// byTable passes a recipient on to the transport that tables name for its user,
// or else to the one that is for all; done is false when there is neither.
func (d *delivery) byTable(s state, tables []string, otherwise string) (st status, done bool) {
	service, found, failed := d.lookFor(tables, s.user)
	switch {
	case failed:
		return d.add(s, deferred("4.3.0", "table lookup failure")), true
	case !found && otherwise == "":
		return fine, false
	case !found:
		service = otherwise
	}
	return d.pass(s, service), true
}

// pass has another transport deliver (deliver_pass.c).
func (d *delivery) pass(s state, service string) status {
	transport, nexthop, _ := strings.Cut(service, ":")
	if nexthop == "" {
		nexthop = d.r.Nexthop
	}
	d.a.o.Log.Info(fmt.Sprintf("%s: passing <%s> to transport=%s", d.r.QueueID, s.to.Address, transport))
	r := *d.r
	r.Nexthop, r.Recipients, r.More = nexthop, r.Recipients[:0:0], nil
	r.Recipients = append(r.Recipients, s.to)
	unavailable := deliver.Result{DSN: "4.3.0", Relay: "none", Text: "mail transport unavailable"}
	if d.a.o.Pass == nil || transport == "" {
		return d.add(s, unavailable)
	}
	res, ok := d.a.o.Pass(d.ctx, transport, &r)
	if !ok {
		res = unavailable
	}
	res.Transport = transport
	return d.add(s, res)
}
