package local

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sekisho/internal/deliver"
	"sekisho/internal/deliver/mailbox"
)

// file delivers to a file that an alias or a user names (file.c).
func (d *delivery) file(s state, path string) status {
	switch {
	case d.beenHere("file %d %s", s.rights.uid, path):
		return fine
	case !slices.Contains(d.a.toFiles, s.kind):
		return d.addOwned(s, bounced("5.7.1", "mail to file is restricted"))
	case d.r.Probe:
		return d.sent(s, "delivers to file: %s", path)
	}
	r, err := d.a.unprivileged(s.rights)
	if err == nil {
		err = d.a.mayWriteAs(r)
	}
	if err != nil {
		d.warn("%v", err)
		return d.add(s, deferred("4.3.5", "mail system configuration error"))
	}
	box := mailbox.Box{Path: path, UID: r.uid, GID: r.gid, ErrorDSN: "5.2.0", Named: true}
	if strings.HasSuffix(path, "/") {
		return d.store(s, box)
	}
	err = d.a.store.Deliver(d.ctx, box, d.copy(s))
	if err == nil {
		return d.sent(s, "delivered to file: %s", path)
	}
	return d.addOwned(s, failure(err, "cannot append message to file "+path+": "))
}

// unprivileged are these rights, or the default user's in place of root's.
func (a *Agent) unprivileged(r rights) (rights, error) {
	if r.uid != 0 && r.gid != 0 {
		return r, nil
	}
	u, err := a.o.Users.ByName(a.defaultUser)
	switch {
	case err != nil:
		return r, err
	case u == nil:
		return r, fmt.Errorf("%s: default_privs: unknown user: %s", a.o.Config.Pos("default_privs"), a.defaultUser)
	case u.UID == 0 || u.GID == 0:
		return r, fmt.Errorf("%s: default_privs: %s is privileged", a.o.Config.Pos("default_privs"), a.defaultUser)
	}
	if r.uid == 0 {
		r.uid = u.UID
	}
	if r.gid == 0 {
		r.gid = u.GID
	}
	return r, nil
}

// copy is the message as it goes into a file.
func (d *delivery) copy(s state) mailbox.Copy {
	c := mailbox.Copy{Sender: s.sender, Content: d.r.Content}
	if slices.Contains(d.a.prepend, "file") {
		c.Delivered = s.delivered
	}
	if d.a.original {
		c.Original = s.to.Original
	}
	return c
}

// failure is the outcome of a delivery that did not happen.
func failure(err error, prefix string) deliver.Result {
	var f *mailbox.Failure
	if !errors.As(err, &f) {
		return deferred("4.3.0", err.Error())
	}
	res := bounced(f.DSN, prefix+f.Text)
	if strings.HasPrefix(f.DSN, "4") {
		res.Status = deliver.Deferred
	}
	return res
}
