// Package getopt reads the command lines of Postfix's own commands as their
// getopt(3) does: options before the operands, single letters that may be
// joined.
package getopt

import (
	"fmt"
	"strings"
)

// Option is one option as given.
type Option struct {
	Letter byte
	Value  string
}

// Parse splits args into options and operands. Letters that have a ":" after
// them in letters take a value.
func Parse(args []string, letters string) (options []Option, operands []string, err error) {
	for len(args) > 0 {
		word := args[0]
		if len(word) < 2 || word[0] != '-' {
			break
		}
		args = args[1:]
		if word == "--" {
			break
		}
		for rest := word[1:]; rest != ""; {
			o := Option{Letter: rest[0]}
			rest = rest[1:]
			at := strings.IndexByte(letters, o.Letter)
			if at < 0 || o.Letter == ':' {
				return nil, nil, fmt.Errorf("invalid option -- '%c'", o.Letter)
			}
			if strings.HasPrefix(letters[at+1:], ":") {
				if rest == "" && len(args) == 0 {
					return nil, nil, fmt.Errorf("option requires an argument -- '%c'", o.Letter)
				}
				if o.Value, rest = rest, ""; o.Value == "" {
					o.Value, args = args[0], args[1:]
				}
			}
			options = append(options, o)
		}
	}
	return options, args, nil
}
