package table

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strings"
)

// unixTable is passwd.byname or group.byname of the system: the line of
// /etc/passwd or /etc/group, or what the name service says where the file has
// none.
type unixTable struct{ file string }

func openUnix(name string) (Table, error) {
	switch name {
	case "passwd.byname":
		return unixTable{"/etc/passwd"}, nil
	case "group.byname":
		return unixTable{"/etc/group"}, nil
	}
	return nil, fmt.Errorf("unknown table: unix:%s (use unix:passwd.byname or unix:group.byname)", name)
}

func (t unixTable) Lookup(key string) (string, bool, error) {
	line, err := t.line(key)
	if err == nil && line == "" {
		line, err = t.service(key)
	}
	return line, line != "", err
}

func (unixTable) Close() error { return nil }

// line finds the key's line in the file.
func (t unixTable) line(key string) (string, error) {
	f, err := os.Open(t.file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		if name, _, ok := strings.Cut(sc.Text(), ":"); ok && name == key {
			return sc.Text(), nil
		}
	}
	return "", sc.Err()
}

// service asks the name service, which does not tell password and shell.
func (t unixTable) service(key string) (string, error) {
	if t.file == "/etc/group" {
		g, err := user.LookupGroup(key)
		if err != nil {
			return "", notUnknown(err)
		}
		return g.Name + ":x:" + g.Gid + ":", nil
	}
	u, err := user.Lookup(key)
	if err != nil {
		return "", notUnknown(err)
	}
	return strings.Join([]string{u.Username, "x", u.Uid, u.Gid, u.Name, u.HomeDir, ""}, ":"), nil
}

// notUnknown drops the errors that only say that a name does not exist.
func notUnknown(err error) error {
	var u user.UnknownUserError
	var g user.UnknownGroupError
	if errors.As(err, &u) || errors.As(err, &g) {
		return nil
	}
	return err
}

// openNIS opens a table of a NIS domain. Where there is none, as nearly
// everywhere, such a table is empty; Postfix's default for alias_maps has one.
func openNIS(o Options) (Table, error) {
	b, err := os.ReadFile("/proc/sys/kernel/domainname")
	if name := strings.TrimSpace(string(b)); err == nil && name != "" && name != "(none)" {
		return nil, fmt.Errorf("this machine is in the NIS domain %s, and this version does not speak NIS", name)
	}
	if o.Tolerant {
		o.Log.Warn("dict_nis_init: NIS domain name not set - NIS lookups disabled")
	}
	return inline{}, nil
}
