package local

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// look looks a name up in one table. Alias files are read as they are written,
// with a colon after the name.
func (d *delivery) look(table, name string) (value string, found, failed bool) {
	keys := []string{mail.QuoteLocal(name)}
	if keys[0] != name {
		keys = append(keys, name)
	}
	for _, key := range keys {
		for _, key := range []string{key, key + ":"} {
			ans := d.src.Ask(evidence.Question{Kind: evidence.Table, Name: table, Arg: key})
			switch ans.Status {
			case evidence.Found:
				return ans.Value, true, false
			case evidence.NotFound:
			default:
				return "", false, true
			}
		}
	}
	return "", false, false
}

// find looks a name up in all alias tables.
func (d *delivery) find(name string) (value string, found, failed bool) {
	for _, table := range d.a.aliases {
		if value, found, failed = d.look(table, name); found || failed {
			return value, found, failed
		}
	}
	return "", false, false
}

// alias delivers to what a name stands for in the alias tables; done is false
// when it is no alias (alias.c).
func (d *delivery) alias(s state, name string) (st status, done bool) {
	s.level++
	if s.from != "" && strings.EqualFold(s.from, name) {
		return fine, false
	}
	if s.level > maxLevel {
		d.warn("alias database loop for %s", name)
		return d.add(s, bounced("5.4.6", "alias database loop for "+name)), true
	}
	s.from = name
	for _, table := range d.a.aliases {
		value, found, failed := d.look(table, name)
		switch {
		case failed:
			d.warn("%s: lookup of '%s' failed", table, name)
			return d.add(s, deferred("4.3.0", "alias database unavailable")), true
		case found && d.r.Probe:
			return d.sent(s, "aliased to %s", value), true
		case found:
			return d.expand(s, table, name, value), true
		}
	}
	return fine, false
}

// expand delivers to the value of an alias.
func (d *delivery) expand(s state, table, name, value string) status {
	s.kind = "alias"
	var text string
	if s.rights, text = d.tableRights(table); text != "" {
		return d.add(s, deferred("4.3.0", text))
	}
	owner, isList, failed := d.owner(name)
	if failed {
		return d.add(s, deferred("4.3.0", "alias database unavailable"))
	}
	top := s
	s.to.Notify = withoutSuccess(s.to.Notify)
	switch {
	case isList: // RFC 3461 section 5.2.7.3: what the sender asked for is not for its members
		s.sender, s.owner, s.to.ORCPT, s.to.Original = owner, owner, "", ""
	case d.a.resetOwner:
		s.owner = ""
	}
	if !d.a.frozen {
		s.delivered = s.to.Address
	}
	d.expansion(top, isList)
	st, count := d.tokens(s, value)
	if count == 0 {
		d.warn("no recipient in alias lookup result for %s", name)
		return d.add(s, deferred("4.3.0", "alias database unavailable"))
	}
	return st
}

// expansion notes that the recipient stood for something else; list that the
// reports about it end here.
func (d *delivery) expansion(s state, list bool) {
	if !d.expanded {
		d.list = list
	}
	d.expanded = true
}

func withoutSuccess(n mail.Notify) mail.Notify {
	if n == mail.NotifySuccess {
		return mail.NotifyNever
	}
	return n &^ mail.NotifySuccess
}

// owner returns who is told when a member of a list cannot be reached.
func (d *delivery) owner(name string) (addr string, found, failed bool) {
	if !d.a.ownerAlias {
		return "", false, false
	}
	addr = "owner-" + name
	value, found, failed := d.find(addr)
	if found && d.a.expandOwner {
		addr = value
	}
	return d.a.o.Resolver.Rewrite(addr), found, failed
}

// ownerOf is owner for an address, with and without its extension; ok is false
// when a table failed.
func (d *delivery) ownerOf(address string) (owner string, ok bool) {
	local, _, _ := mail.SplitAddress(address)
	for _, name := range []string{local, d.a.o.Resolver.StripExtension(local)} {
		owner, found, failed := d.owner(name)
		if found || failed {
			return owner, !failed
		}
	}
	return "", true
}

// tableRights are the rights for commands and files that an alias table names:
// its owner's, unless that is root. text is not empty when there are none.
func (d *delivery) tableRights(table string) (r rights, text string) {
	uid, found := tableOwner(d.a.o.Config.Dir, table)
	if !found || uid == 0 {
		return rights{}, ""
	}
	u, err := d.a.o.Users.ByID(uid)
	if err != nil || u == nil {
		d.warn("cannot find alias database owner for %s", table)
		return rights{}, "cannot find alias database owner"
	}
	return rightsOf(u), ""
}

// tableOwner is the user that a table's file belongs to. Tables that are no
// files are the administrator's.
func tableOwner(dir, table string) (uid int, found bool) {
	table = strings.TrimPrefix(table, "proxy:")
	kind, path, ok := strings.Cut(table, ":")
	if !ok {
		kind, path = "hash", table
	}
	switch kind {
	case "hash", "btree", "lmdb", "cdb", "dbm", "sdbm", "texthash", "regexp", "pcre", "cidr", "mysql", "pgsql", "sqlite", "ldap":
	default:
		return 0, false
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	st, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(sys.Uid), true
}
