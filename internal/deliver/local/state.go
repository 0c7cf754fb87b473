package local

import (
	"context"
	"fmt"
	"strings"

	"sekisho/internal/deliver"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// delivery is one recipient being worked on, with all that it stands for.
type delivery struct {
	a   *Agent
	ctx context.Context
	src evidence.Source
	r   *deliver.Request
	had map[string]bool // the Delivered-To headers of the message, lower case

	seen     map[string]bool // what was done for this recipient; see beenHere
	parts    []deliver.Part
	resent   []*resend
	expanded bool // the recipient stood for something else
	list     bool // the alias it was has an owner
}

// state is one step on the way from the recipient to where it ends. It is passed
// on by value: what a step changes holds for the steps below it.
type state struct {
	level   int
	to      mail.Recipient // as it is logged
	sender  string
	local   string
	user    string // local without extension
	domain  string
	ext     string // without its delimiter
	hasExt  bool
	rest    string // extension that no name has matched yet, to be passed on; with hasRest
	hasRest bool

	owner     string // not empty: mail for others goes out as a new message
	delivered string // for Delivered-To
	from      string // the name that was expanded last
	kind      string // of the expansion: alias, forward, include
	rights    rights
}

// rights are whose rights commands and files get. The zero value is the default
// user's.
type rights struct {
	uid, gid    int
	home, shell string
}

func rightsOf(u *User) rights { return rights{u.UID, u.GID, u.Home, u.Shell} }

// maxLevel is how deep expansions may be nested.
const maxLevel = 100

// beenHere reports whether this was done before for the recipient, and notes it.
func (d *delivery) beenHere(format string, args ...any) bool {
	key := strings.ToLower(fmt.Sprintf(format, args...))
	if d.seen[key] {
		return true
	}
	if d.a.duplicates == 0 || len(d.seen) < d.a.duplicates {
		d.seen[key] = true
	}
	return false
}

// status is what the steps report: whether the recipient must be tried again.
type status bool

const (
	fine  status = false
	again status = true
)

// add takes down an outcome. One of a list's members is its owner's to know.
func (d *delivery) add(s state, res deliver.Result) status {
	if res.Relay == "" {
		res.Relay = d.a.o.Name
	}
	d.parts = append(d.parts, deliver.Part{To: s.to, Result: res})
	return status(res.Status == deliver.Deferred)
}

// addOwned is add for failures of which a list's owner is told, if the address
// is that of a list.
func (d *delivery) addOwned(s state, res deliver.Result) status {
	owner, ok := d.ownerOf(s.to.Address)
	if !ok {
		return d.add(s, deferred("4.3.0", "alias database unavailable"))
	}
	st := d.add(s, res)
	if res.Status != deliver.Sent {
		d.parts[len(d.parts)-1].Owner = owner
	}
	return st
}

func (d *delivery) sent(s state, format string, args ...any) status {
	return d.add(s, deliver.Result{Status: deliver.Sent, DSN: "2.0.0", Text: fmt.Sprintf(format, args...)})
}

func (d *delivery) warn(format string, args ...any) {
	d.a.o.Log.Warn(fmt.Sprintf(format, args...))
}

func deferred(dsn, text string) deliver.Result {
	return deliver.Result{Status: deliver.Deferred, DSN: dsn, Text: text}
}

func bounced(dsn, text string) deliver.Result {
	return deliver.Result{Status: deliver.Bounced, DSN: dsn, Text: text}
}

// misconfigured sends back what no retry would mend.
var misconfigured = bounced("5.3.5", "mail system configuration error")
