package bounce

import (
	"errors"
	"fmt"
	"mime"
	"os"
	"strconv"
	"strings"
	"time"

	"sekisho/internal/config"
	"sekisho/internal/mail"
	"sekisho/internal/mimestate"
)

// Templates are what notifications say to people, by kind: Postfix's built-in
// text, its translations, or the file that bounce_template_file names
// (bounce(5)).
type Templates struct{ failure, delay, success template }

// template is one of them.
type template struct {
	charset    string // of text; empty: what the message asks for
	from       string // of a file, as it stands there; empty: ours
	subject    string
	postmaster string // subject of the postmaster's copy; empty: the same
	text       string // with its $names replaced
}

// LoadTemplates returns the templates of a configuration. A file that cannot be
// read, or has a $name that is none, is an error; a template in it that makes no
// sense is left out with a warning, as Postfix does.
func LoadTemplates(c *config.Config) (t Templates, warnings []string, err error) {
	t, err = builtin(c)
	if file := c.Str("bounce_template_file"); err == nil && file != "" {
		warnings, err = t.read(c, file)
	}
	return t, warnings, err
}

// builtin returns Postfix's own text in the languages of
// sekisho_bounce_languages, one below the other; the first one has the subject.
func builtin(c *config.Config) (t Templates, err error) {
	for i, language := range c.Strings("sekisho_bounce_languages") {
		texts, ok := languages[strings.ToLower(language)]
		if !ok {
			return t, fmt.Errorf("%s: sekisho_bounce_languages: no language %q; there are en and ja", c.Pos("sekisho_bounce_languages"), language)
		}
		for k, to := range []*template{&t.failure, &t.delay, &t.success} {
			text, err := fill(c, texts[k].text)
			if err != nil {
				return t, err
			}
			if i == 0 {
				*to = texts[k]
				to.subject, to.postmaster = encoded(to.subject), encoded(to.postmaster)
				to.text = ""
			} else {
				to.text += "\n"
			}
			to.text += text
		}
	}
	if t.failure.text == "" {
		return t, fmt.Errorf("%s: sekisho_bounce_languages: no language; en is Postfix's text", c.Pos("sekisho_bounce_languages"))
	}
	return t, nil
}

// encoded is a header's value in ASCII (RFC 2047).
func encoded(s string) string {
	return strings.ReplaceAll(mime.BEncoding.Encode("utf-8", s), "?= =?", "?=\n =?")
}

// read replaces templates by those of a file.
func (t *Templates) read(c *config.Config, file string) (warnings []string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%s: bounce_template_file: %w", c.Pos("bounce_template_file"), err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	for n := 0; n < len(lines); n++ {
		line := strings.TrimSpace(lines[n])
		if line == "" || line[0] == '#' {
			continue
		}
		at := fmt.Sprintf("%s, line %d: ", file, n+1)
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return warnings, errors.New(at + "missing '=' after attribute name: \"" + line + "\"")
		}
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if marker, here := strings.CutPrefix(value, "<<"); here {
			marker = strings.TrimSpace(marker)
			if marker == "" {
				return warnings, errors.New(at + "missing end marker after <<")
			}
			first := n + 1
			for n++; n < len(lines) && lines[n] != marker; n++ {
			}
			value = strings.Join(lines[first:n], "\n")
			if n == len(lines) {
				warnings = append(warnings, at+"missing \""+marker+"\" end marker")
			}
		}
		w, err := t.set(c, name, value)
		if err != nil {
			return warnings, errors.New(at + err.Error())
		}
		if w != "" {
			warnings = append(warnings, at+w+" -- ignoring this template")
		}
	}
	return warnings, nil
}

// set replaces one template. A warning says why it does not.
func (t *Templates) set(c *config.Config, name, value string) (warning string, err error) {
	to := map[string]*template{"failure_template": &t.failure, "delay_template": &t.delay, "success_template": &t.success}[name]
	switch {
	case name == "verify_template":
		return "", nil // for reports that only sendmail -bv and -v ask for
	case to == nil:
		return "unknown template name: " + name, nil
	}
	parsed, warning := parse(*to, value, strings.TrimSuffix(name, "_template"))
	if warning != "" {
		return warning, nil
	}
	if parsed.text, err = fill(c, parsed.text); err == nil {
		*to = parsed
	}
	return "", err
}

// parse reads the headers and the text of a template.
func parse(old template, value, class string) (t template, warning string) {
	t = old
	t.charset = "us-ascii"
	lines := strings.Split(value, "\n")
	for len(lines) > 0 {
		n := mimestate.HeaderName([]byte(lines[0]))
		if n <= 0 {
			break
		}
		label := lines[0][:n]
		text := strings.TrimLeft(lines[0][n:], ": \t")
		lines = lines[1:]
		where := fmt.Sprintf("\"%s\" header value in %s template", label, class)
		switch {
		case text == "":
			return t, "empty " + where
		case !ascii(text):
			return t, "non-ASCII " + where
		}
		switch strings.ToLower(label) {
		case "charset":
			t.charset = text
		case "from":
			t.from = text
		case "subject":
			t.subject = text
		case "postmaster-subject":
			if t.postmaster == "" {
				return t, fmt.Sprintf("inapplicable \"%s\" header label in %s template", label, class)
			}
			t.postmaster = text
		default:
			return t, fmt.Sprintf("unknown \"%s\" header label in %s template", label, class)
		}
	}
	for len(lines) > 0 && strings.TrimSpace(lines[0]) == "" {
		lines = lines[1:]
	}
	if len(lines) == 0 {
		return t, "missing message text in " + class + " template"
	}
	t.text = strings.Join(lines, "\n") + "\n"
	if strings.EqualFold(t.charset, "us-ascii") {
		if !ascii(t.text) {
			return t, "8-bit message text in " + class + " template: please specify a charset value other than us-ascii"
		}
		t.charset = ""
	}
	return t, ""
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 127 }) < 0
}

// fill replaces the names of parameters in a text. Those of times may end in
// the unit they are wanted in.
func fill(c *config.Config, text string) (string, error) {
	value, used, err := config.ExpandUsing(text, func(name string) (string, bool) {
		for _, p := range []string{"delay_warning_time", "maximal_queue_lifetime"} {
			if unit, ok := strings.CutPrefix(name, p+"_"); ok {
				d, ok := units[unit]
				if !ok {
					return "", false
				}
				return strconv.Itoa(int(c.Duration(p) / d)), true
			}
		}
		v := c.Str(name)
		if c.Bool("smtputf8_enable") && (name == "myhostname" || name == "mydomain") {
			v = mail.UnicodeDomain(v)
		}
		_, known := c.Parameter(name)
		return v, known || c.Set(name)
	})
	for name, known := range used {
		if !known {
			return "", fmt.Errorf("undefined $name in template: %s", name)
		}
	}
	return value, err
}

var units = map[string]time.Duration{
	"seconds": time.Second, "minutes": time.Minute, "hours": time.Hour, "days": 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
}
