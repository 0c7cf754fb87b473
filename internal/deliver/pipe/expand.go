package pipe

import (
	"fmt"
	"maps"
	"strings"

	"sekisho/internal/config"
	"sekisho/internal/deliver"
	"sekisho/internal/mail"
)

// perRecipient are the macros that have a value for each recipient: an argument
// with one of them stands in the command once for each.
var perRecipient = []string{"recipient", "original_recipient", "user", "extension", "mailbox", "domain"}

// expand replaces the macros in the arguments of the program.
func (a *Agent) expand(s *settings, r *deliver.Request) ([]string, error) {
	common := a.attributes(s, r)
	var argv []string
	for _, arg := range s.argv {
		each, err := a.expandsEach(arg, common)
		if err != nil {
			return nil, err
		}
		recipients := r.Recipients
		if !each {
			recipients = recipients[:1]
		}
		for _, to := range recipients {
			values := maps.Clone(common)
			if each {
				maps.Copy(values, a.recipient(s, to))
			}
			text, err := config.Expand(arg, func(n string) (string, bool) { v, ok := values[n]; return v, ok })
			if err != nil {
				return nil, err
			}
			argv = append(argv, text)
		}
	}
	return argv, nil
}

// expandsEach reports whether an argument depends on the recipient. Names that
// pipe(8) does not know are mistakes.
func (a *Agent) expandsEach(arg string, common map[string]string) (each bool, err error) {
	var unknown error
	err = config.References(arg, func(name string) {
		_, known := common[name]
		for _, p := range perRecipient {
			if p == name {
				each, known = true, true
			}
		}
		if !known && unknown == nil {
			unknown = fmt.Errorf("file %s/master.cf: service %s: unknown macro name: \"%s\"", a.o.Config.Dir, a.o.Name, name)
		}
	})
	if err != nil {
		return false, err
	}
	return each, unknown
}

// recipient returns the macros of one recipient.
func (a *Agent) recipient(s *settings, to mail.Recipient) map[string]string {
	address := s.fold(to.Address)
	local, domain := address, ""
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		local, domain = address[:at], address[at+1:]
	} else {
		a.o.Log.Warn("no @ in recipient address: " + to.Address)
	}
	user, extension := a.split(local)
	return map[string]string{
		"recipient": s.fold(s.quoted(to.Address)), "original_recipient": s.fold(s.quoted(to.Original)),
		"user": user, "extension": extension, "mailbox": local, "domain": domain,
	}
}

// split cuts the extension off a local part.
func (a *Agent) split(local string) (user, extension string) {
	user = a.o.Resolver.StripExtension(local)
	if len(user) == len(local) {
		return local, ""
	}
	return user, local[len(user)+1:]
}

// fold changes the parts of an address to lower case that flags h and u name.
func (s *settings) fold(addr string) string {
	at := strings.LastIndexByte(addr, '@')
	if at < 0 {
		at = len(addr)
	}
	user, host := addr[:at], addr[at:]
	if s.foldUser {
		user = strings.ToLower(user)
	}
	if s.foldHost {
		host = strings.ToLower(host)
	}
	return user + host
}
