package local

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"sekisho/internal/deliver/mailbox"
)

// include delivers to what a :include: file names (include.c).
func (d *delivery) include(s state, path string) status {
	s.level++
	if s.level > maxLevel {
		d.warn(":include: nesting limit exceeded for %s", path)
		return d.add(s, bounced("5.4.6", ":include: nesting limit exceeded"))
	}
	if d.beenHere("include %d %s", s.rights.uid, path) {
		return fine
	}
	s.from = s.local
	info, problem := d.includeFile(s, path)
	if problem != "" {
		d.warn("%s", problem)
		return d.add(s, misconfigured)
	}
	s.kind = "include"
	if s.rights.uid == 0 { // the file's owner must not rule over the default user
		owner := int(info.Sys().(*syscall.Stat_t).Uid)
		u, err := d.a.o.Users.ByID(owner)
		if err != nil || u == nil {
			d.warn("cannot find username for uid %d", owner)
			d.warn("%s: cannot find :include: file owner username", path)
			return d.add(s, deferred("4.3.5", "mail system configuration error"))
		}
		if u.UID != 0 {
			s.rights = rightsOf(u)
		}
	}
	if s.owner == "" {
		s.owner = s.to.Address
	}
	file, err := openAs(s.rights, path)
	if err != nil {
		d.warn("cannot open include file %s: %s", path, mailbox.Reason(err))
		return d.add(s, misconfigured)
	}
	defer file.Close()
	if !slices.Contains(d.a.propagate, "include") {
		s.rest, s.hasRest = "", false
	}
	st, _ := d.tokensOf(s, file)
	return st
}

// includeFile looks at a file before it is read.
func (d *delivery) includeFile(s state, path string) (info fs.FileInfo, problem string) {
	if !strings.HasPrefix(path, "/") {
		return nil, ":include:" + path + " uses a relative path"
	}
	stat := func() (err error) { info, err = os.Stat(path); return err }
	var err error
	if s.rights.uid == 0 {
		err = stat()
	} else {
		err = mailbox.AsOwner(s.rights.uid, s.rights.gid, stat)
	}
	switch {
	case err != nil:
		return nil, "unable to lookup :include: file " + path + ": " + mailbox.Reason(err)
	case !info.Mode().IsRegular():
		return nil, ":include: file " + path + " is not a regular file"
	case info.Mode()&0o002 != 0:
		return nil, ":include: file " + path + " is world writable"
	}
	return info, ""
}
