package local

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"sekisho/internal/deliver"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/tok822"
)

// Post puts a new message into the queue: it chooses the queue id, calls write
// for the content, and returns nil once the message is on disk.
type Post func(ctx context.Context, env mail.Envelope, write func(id string, w io.Writer) error) error

// alias looks a name up. Alias files are read as they are written, with a
// colon after the name.
func (d *delivery) alias(name string) (value string, found, failed bool) {
	for _, table := range d.a.aliases {
		for _, key := range []string{name, name + ":"} {
			ans := d.src.Ask(evidence.Question{Kind: evidence.Table, Name: table, Arg: key})
			switch ans.Status {
			case evidence.Found:
				return ans.Value, true, false
			case evidence.NotFound:
			default:
				d.warn("%s: lookup of '%s' failed", table, name)
				return "", false, true
			}
		}
	}
	return "", false, false
}

// expand delivers to what an alias stands for. The name itself among its own
// addresses is the user's mailbox; all others get the message as a new one.
func (d *delivery) expand(to mail.Recipient, alias, name, value string) deliver.Result {
	addrs, own, odd := d.addresses(alias, name, value)
	if odd != "" {
		d.warn("alias %s: cannot deliver to %s: commands, files and lists in aliases are not supported", alias, odd)
		return deferred("4.3.5", "mail system configuration error")
	}
	if len(addrs) == 0 && !own {
		d.warn("no recipient in alias lookup result for %s", alias)
		return deferred("4.3.0", "alias database unavailable")
	}
	if own {
		if res := d.mailbox(to, name); res.Status != deliver.Sent || len(addrs) == 0 {
			return res
		}
	}
	return d.forward(to, alias, addrs)
}

// addresses reads an alias's value. odd is the first element that is no
// address.
func (d *delivery) addresses(alias, name, value string) (addrs []string, own bool, odd string) {
	if strings.Contains(value, ":include:") {
		return nil, false, value
	}
	for _, a := range tok822.Parse(value, 0).Addresses() {
		addr := a.Internal()
		if addr == "" || addr[0] == '|' || addr[0] == '/' || addr[0] == '~' {
			return nil, false, addr
		}
		addr = d.a.o.Resolver.Rewrite(strings.TrimPrefix(addr, `\`))
		if d.isSelf(addr, alias, name) {
			own = true
			continue
		}
		addrs = append(addrs, addr)
	}
	return addrs, own, ""
}

// isSelf reports whether an address of an alias is the alias's own name here.
func (d *delivery) isSelf(addr, alias, name string) bool {
	res := d.a.o.Resolver.Resolve(d.src, d.r.Envelope.Sender, addr)
	local, _, _ := mail.SplitAddress(strings.ToLower(addr))
	return !res.Failed && res.Transport == d.a.o.Name && (local == alias || local == name)
}

// forward puts the message into the queue again, for other recipients.
func (d *delivery) forward(to mail.Recipient, alias string, addrs []string) deliver.Result {
	env := mail.Envelope{
		Sender: d.r.Envelope.Sender, Ret: d.r.Envelope.Ret, EnvID: d.r.Envelope.EnvID,
		SMTPUTF8: d.r.Envelope.SMTPUTF8, Body: d.r.Envelope.Body, Client: d.r.Envelope.Client,
	}
	r := mail.Recipient{Original: to.Original, ORCPT: to.ORCPT, Notify: to.Notify &^ mail.NotifySuccess}
	if to.Notify == mail.NotifySuccess {
		r.Notify = mail.NotifyNever
	}
	if owner, ok := d.owner(alias); ok {
		env.Sender, env.Ret, env.EnvID = owner, "", ""
		r.Original, r.ORCPT = "", ""
	}
	for _, addr := range addrs {
		r.Address = addr
		env.Recipients = append(env.Recipients, r)
	}
	var id string
	err := d.a.o.Post(d.ctx, env, func(newID string, w io.Writer) error {
		id = newID
		return d.copyTo(w, newID, to.Address)
	})
	if err != nil {
		d.warn("%s: cannot forward: %v", d.r.QueueID, err)
		return deferred("4.3.0", "unable to forward message")
	}
	return deliver.Result{Status: deliver.Sent, DSN: "2.0.0", Text: "forwarded as " + id}
}

// owner returns who is told when an address of an alias cannot be reached.
func (d *delivery) owner(alias string) (addr string, ok bool) {
	if !d.a.ownerAlias {
		return "", false
	}
	_, found, _ := d.alias("owner-" + alias)
	return d.a.o.Resolver.Rewrite("owner-" + alias), found
}

// copyTo writes the message with the headers that a forwarded one gets.
func (d *delivery) copyTo(w io.Writer, id, delivered string) error {
	_, err := fmt.Fprintf(w, "Received: by %s (%s)\n\tid %s; %s\n", d.a.hostname, d.a.mailName, id, mail.Date(d.a.o.Clock.Now().Local()))
	if err == nil && d.a.deliveredOther {
		_, err = fmt.Fprintf(w, "Delivered-To: %s\n", strings.ToLower(delivered))
	}
	if err != nil {
		return err
	}
	content, err := d.r.Content()
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = io.Copy(w, content)
	return err
}

// groupOf is the group of a file.
func groupOf(st os.FileInfo, otherwise int) int {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return int(sys.Gid)
	}
	return otherwise
}
