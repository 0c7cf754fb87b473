package sendmail

import (
	"errors"
	"fmt"
	"strings"

	"sekisho/internal/applet/getopt"
	"sekisho/internal/mail"
)

// letters are the options of sendmail(1); most of them mean nothing here, but
// programs give them.
const letters = "A:B:C:F:GIL:N:O:R:UV:X:b:ce:f:h:imno:p:r:tvx"

var errUsage = errors.New("usage: sendmail [options]")

// options are what the command line says.
type options struct {
	mode       byte   // of -b; 'q' is -q
	flush      string // what comes after -q
	config     string
	sender     *string
	fullName   *string
	notify     mail.Notify
	ret        string
	envID      string
	body       string
	extract    bool // -t
	dots       bool // -i: a line with a dot is no end
	verbose    bool
	recipients []string
}

// parse reads a command line. Warnings go to warn.
func parse(args []string, warn func(string)) (*options, error) {
	o := &options{mode: 'm'}
	var rest []string
	for i, a := range args { // -q has a value that may be missing
		if a == "--" || len(a) < 2 || a[0] != '-' {
			rest = append(rest, args[i:]...)
			break
		}
		if !strings.HasPrefix(a, "-q") {
			rest = append(rest, a)
			if takesNext(a) {
				rest = append(rest, args[min(i+1, len(args)):]...)
				break
			}
			continue
		}
		o.mode, o.flush = 'q', a[2:]
	}
	given, operands, err := getopt.Parse(rest, letters)
	if err != nil {
		warn(err.Error())
		return nil, errUsage
	}
	for _, g := range given {
		if err := o.take(g, warn); err != nil {
			return nil, err
		}
	}
	o.recipients = operands
	return o, nil
}

// takesNext reports whether the value of an option is the next word.
func takesNext(word string) bool {
	at := strings.IndexByte(letters, word[len(word)-1])
	return len(word) == 2 && at >= 0 && strings.HasPrefix(letters[at+1:], ":")
}

func (o *options) take(g getopt.Option, warn func(string)) error {
	switch g.Letter {
	case 'B':
		o.body = strings.ToUpper(g.Value)
		if o.body != "8BITMIME" && o.body != "7BIT" {
			return errors.New("-B option needs 8BITMIME or 7BIT")
		}
	case 'C':
		o.config = g.Value
	case 'F':
		o.fullName = &g.Value
	case 'f', 'r':
		o.sender = &g.Value
	case 'I':
		o.mode = 'i'
	case 'N':
		n, ok := mail.ParseNotify(g.Value)
		if !ok {
			warnNotify(g.Value, warn)
			break
		}
		o.notify = n
	case 'R':
		o.ret = strings.ToUpper(g.Value)
		if o.ret != "FULL" && o.ret != "HDRS" {
			warn("warning: bad -R option value -- ignored")
			o.ret = ""
		}
	case 'V':
		o.envID = mail.EncodeXtext(g.Value)
	case 'b':
		return o.chooseMode(g.Value)
	case 'i':
		o.dots = true
	case 'o':
		o.dots = o.dots || strings.HasPrefix(g.Value, "i")
		switch g.Value {
		case "7":
			o.body = "7BIT"
		case "8":
			o.body = "8BITMIME"
		}
	case 't':
		o.extract = true
	case 'v':
		o.verbose = true
	}
	return nil
}

func (o *options) chooseMode(value string) error {
	switch value {
	case "m", "am":
		return nil
	case "p", "i":
		o.mode = value[0]
		return nil
	}
	return errors.New("unsupported: -b" + value)
}

// warnNotify says what is wrong with the value of -N.
func warnNotify(value string, warn func(string)) {
	for _, word := range strings.Split(value, ",") {
		if _, ok := mail.ParseNotify(word); !ok {
			warn(fmt.Sprintf("warning: unknown DSN NOTIFY command value %q in %q", word, value))
			break
		}
	}
	warn("warning: bad -N option value -- ignored")
}
