package local

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"sekisho/internal/config"
	"sekisho/internal/deliver/mailbox"
)

// dotForward delivers to what a user's .forward file names; done is false when
// he has none (dotforward.c).
func (d *delivery) dotForward(s state) (st status, done bool) {
	s.level++
	if d.a.forwardPath == "" {
		return fine, false
	}
	u, st, failed := d.lookUp(s)
	if failed || u == nil {
		return st, failed
	}
	if !d.a.frozen {
		s.delivered = s.to.Address
	}
	s.rights, s.kind, s.owner = rightsOf(u), "forward", s.user
	path, info, extended := d.forwardFile(s)
	switch {
	case path == "":
		return fine, false
	case d.r.Probe:
		return d.sent(s, "forward via file: %s", path), true
	case d.beenHere("forward %s", path):
		return fine, d.seen[strings.ToLower("forward-done "+path)]
	}
	if extended || !slices.Contains(d.a.propagate, "forward") {
		s.rest, s.hasRest = "", false
	}
	s.from = s.local
	return d.forwardTo(s, path, info)
}

// forwardFile returns the first file of forward_path that there is, and whether
// the address extension is part of its name.
func (d *delivery) forwardFile(s state) (path string, info fs.FileInfo, extended bool) {
	for _, pattern := range config.Words(d.a.forwardPath) {
		name, used, err := d.fill(s, pattern, d.a.forwardFilter)
		if err != nil || hasUnknown(used) {
			continue
		}
		err = mailbox.AsOwner(s.rights.uid, s.rights.gid, func() (err error) { info, err = os.Lstat(name); return err })
		if err == nil {
			return name, info, used["extension"]
		}
	}
	return "", nil, false
}

// forwardTo delivers to what a .forward file names. A file that is not the
// user's own is not followed.
func (d *delivery) forwardTo(s state, path string, info fs.FileInfo) (st status, done bool) {
	sys, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !info.Mode().IsRegular():
		d.warn("file %s is not a regular file", path)
		return fine, false
	case sys.Uid != 0 && int(sys.Uid) != s.rights.uid:
		d.warn("file %s has bad owner uid %d", path, sys.Uid)
		return fine, false
	case info.Mode()&0o002 != 0:
		d.warn("file %s is world writable", path)
		return fine, false
	}
	file, err := openAs(s.rights, path)
	if err != nil {
		d.warn("cannot open file %s: %s", path, mailbox.Reason(err))
		return fine, false
	}
	defer file.Close()
	top, was, list := s, d.expanded, d.list
	d.expansion(top, false)
	s.to.Notify = withoutSuccess(s.to.Notify)
	st, count := d.tokensOf(s, file)
	if count == 0 {
		d.expanded, d.list = was, list
		return st, false
	}
	d.beenHere("forward-done %s", path)
	return st, true
}

// openAs opens a file with the rights of a user, or the server's own.
func openAs(r rights, path string) (file *os.File, err error) {
	open := func() error {
		file, err = os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		return err
	}
	if r.uid == 0 {
		return file, open()
	}
	err = mailbox.AsOwner(r.uid, r.gid, open)
	return file, err
}

// fill replaces the $names that local(8) knows in a parameter. Characters that
// are not in filter become underscores.
func (d *delivery) fill(s state, text, filter string) (value string, used map[string]bool, err error) {
	return config.ExpandUsing(text, func(name string) (string, bool) {
		v, ok := d.attribute(s, name)
		if filter != "" {
			v = censor(v, filter)
		}
		return v, ok
	})
}

func (d *delivery) attribute(s state, name string) (value string, known bool) {
	switch name {
	case "user":
		return s.user, true
	case "home":
		return s.rights.home, s.rights.home != ""
	case "shell":
		return s.rights.shell, s.rights.shell != ""
	case "domain":
		return s.domain, true
	case "local", "mailbox":
		return s.local, true
	case "recipient":
		return s.to.Address, true
	case "extension":
		return s.ext, s.hasExt
	case "recipient_delimiter":
		if len(s.local) > len(s.user) {
			return s.local[len(s.user) : len(s.user)+1], true
		}
		return d.a.delimiters[:min(len(d.a.delimiters), 1)], d.a.delimiters != ""
	}
	return "", false
}

// censor replaces characters that are not allowed by underscores.
func censor(s, allowed string) string {
	b := []byte(s)
	for i, c := range b {
		if strings.IndexByte(allowed, c) < 0 {
			b[i] = '_'
		}
	}
	return string(b)
}

func hasUnknown(used map[string]bool) bool {
	for _, known := range used {
		if !known {
			return true
		}
	}
	return false
}
