package local

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// User is a user of the system.
type User struct {
	Name        string
	UID, GID    int
	Home, Shell string
}

// Users is where users are looked up: a file in the form of passwd(5). The zero
// Users is none.
type Users struct{ Path string }

// System is the users of the system.
var System = Users{"/etc/passwd"}

// ByName returns a user, nil if there is no such one.
func (u Users) ByName(name string) (*User, error) {
	return u.find(func(v *User) bool { return v.Name == name })
}

// ByID returns the first user with that id, nil if there is none.
func (u Users) ByID(uid int) (*User, error) {
	return u.find(func(v *User) bool { return v.UID == uid })
}

func (u Users) find(wanted func(*User) bool) (*User, error) {
	f, err := os.Open(u.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if v := parseUser(lines.Text()); v != nil && wanted(v) {
			return v, nil
		}
	}
	return nil, lines.Err()
}

// parseUser reads a line of passwd(5); nil when it is none.
func parseUser(line string) *User {
	f := strings.Split(line, ":")
	if len(f) != 7 || f[0] == "" || strings.ContainsAny(f[0][:1], "#+-") {
		return nil
	}
	uid, err1 := strconv.Atoi(f[2])
	gid, err2 := strconv.Atoi(f[3])
	if err1 != nil || err2 != nil {
		return nil
	}
	return &User{Name: f[0], UID: uid, GID: gid, Home: f[5], Shell: f[6]}
}
