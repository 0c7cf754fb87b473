package pipe

import (
	"errors"
	"fmt"
	"os/user"
	"strconv"
	"strings"

	"sekisho/internal/config"
	"sekisho/internal/deliver"
	"sekisho/internal/deliver/command"
	"sekisho/internal/mail"
)

// settings are the arguments of a service.
type settings struct {
	argv        []string
	uid, gid    int
	dir, chroot string
	size        int64  // largest message, 0: any
	nullSender  string // for the null sender
	form        command.Form

	original, delivered bool // flags O and D
	final               bool // X: this is where mail ends
	foldHost, foldUser  bool // h, u
	quote               bool // q
}

// parse reads the arguments of a service.
func (a *Agent) parse(args []string) (*settings, error) {
	s := &settings{nullSender: "MAILER-DAEMON", form: command.Form{EOL: "\n"}}
	account, given := "", false
	for i, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		var err error
		switch strings.ToLower(name) {
		case "flags":
			err = s.flags(value)
		case "user":
			account, given = value, true
		case "directory":
			s.dir = value
		case "chroot":
			s.chroot = value
		case "eol":
			s.form.EOL = unescape(value)
		case "null_sender":
			s.nullSender = value
		case "size":
			if s.size, err = strconv.ParseInt(value, 10, 64); err != nil || s.size < 0 {
				err = fmt.Errorf("get_service_attr: bad size= value: %s", value)
			}
		case "argv":
			s.argv = append([]string{value}, args[i+1:]...)
			return s, a.account(s, account, given)
		default:
			err = fmt.Errorf("unknown attribute name: %s", arg)
		}
		if err != nil {
			return nil, err
		}
	}
	if !given {
		return nil, errors.New("missing user= command-line attribute")
	}
	return nil, errors.New("missing argv= command-line attribute")
}

func (s *settings) flags(letters string) error {
	for _, c := range letters {
		flag, ok := map[rune]*bool{
			'B': &s.form.Blank, 'D': &s.delivered, 'F': &s.form.FromLine, 'O': &s.original, 'R': &s.form.ReturnPath,
			'X': &s.final, '.': &s.form.Dot, '>': &s.form.QuoteFrom, 'h': &s.foldHost, 'q': &s.quote, 'u': &s.foldUser,
		}[c]
		if !ok {
			return fmt.Errorf("unknown flag: %c (ignored)", c)
		}
		*flag = true
	}
	return nil
}

// account finds the user and group, which must not be root's or the mail
// system's.
func (a *Agent) account(s *settings, account string, given bool) error {
	if !given {
		return errors.New("missing user= command-line attribute")
	}
	name, group, _ := strings.Cut(account, ":")
	u, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("get_service_attr: unknown username: %s", name)
	}
	gid := u.Gid
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return fmt.Errorf("get_service_attr: unknown group: %s", group)
		}
		gid = g.Gid
	}
	var err1, err2 error
	s.uid, err1 = strconv.Atoi(u.Uid)
	s.gid, err2 = strconv.Atoi(gid)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("get_service_attr: user %s: %w", account, err)
	}
	return permitted(a.o.Config, s.uid, s.gid)
}

// permitted refuses the users and groups that are more than a program should be.
func permitted(c *config.Config, uid, gid int) error {
	owner, setgid := c.Str("mail_owner"), c.Str("setgid_group")
	id := func(s string, err error) int {
		n, e := strconv.Atoi(s)
		if err != nil || e != nil {
			return -1
		}
		return n
	}
	ownerUID, ownerGID, setgidGID := -1, -1, -1
	if u, err := user.Lookup(owner); err == nil {
		ownerUID, ownerGID = id(u.Uid, nil), id(u.Gid, nil)
	}
	if g, err := user.LookupGroup(setgid); err == nil {
		setgidGID = id(g.Gid, nil)
	}
	switch {
	case uid == 0:
		return errors.New("user= command-line attribute specifies root privileges")
	case uid == ownerUID:
		return fmt.Errorf("user= command-line attribute specifies mail system owner %s", owner)
	case gid == 0:
		return errors.New("user= command-line attribute specifies privileged group id 0")
	case gid == ownerGID:
		return fmt.Errorf("user= command-line attribute specifies mail system owner %s group id %d", owner, gid)
	case gid == setgidGID:
		return fmt.Errorf("user= command-line attribute specifies mail system %s group id %d", setgid, gid)
	}
	return nil
}

// sender is the envelope's sender, or what stands for the null sender.
func (s *settings) sender(r *deliver.Request) string {
	if r.Envelope.Sender == "" {
		return s.nullSender
	}
	return r.Envelope.Sender
}

// quoted is an address in external form, if flag q asks for that.
func (s *settings) quoted(addr string) string {
	if s.quote {
		return mail.Quote(addr)
	}
	return addr
}

// unescape replaces the escape sequences of C in a string.
func unescape(s string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		if i++; i == len(s) {
			break
		}
		if at := strings.IndexByte("abfnrtv", s[i]); at >= 0 {
			out = append(out, "\a\b\f\n\r\t\v"[at])
			continue
		}
		n, digits := 0, 0
		for digits < 3 && i+digits < len(s) && s[i+digits] >= '0' && s[i+digits] <= '7' {
			n, digits = n<<3|int(s[i+digits]-'0'), digits+1
		}
		if digits == 0 {
			out = append(out, s[i])
			continue
		}
		out, i = append(out, byte(n)), i+digits-1
	}
	return string(out)
}
