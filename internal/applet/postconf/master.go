package postconf

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sekisho/internal/config"
)

// master prints services (-M), their fields (-F) or their parameters (-P), of
// those that match a pattern SERVICE/TYPE/NAME, or of all.
func (p *printer) master(patterns []string) error {
	parts := map[byte]int{'M': 2, 'F': 3, 'P': 3}[p.mode]
	if len(patterns) == 0 {
		p.services([]string{"*", "*", "*"})
	}
	for _, text := range patterns {
		pattern := strings.Split(text, "/")
		if len(pattern) > parts {
			return fmt.Errorf("-%c option requires %s", p.mode, map[byte]string{
				'M': "service_name[/type]", 'F': "service_name[/type[/field]]", 'P': "service_name[/type[/parameter]]",
			}[p.mode])
		}
		for len(pattern) < 3 {
			pattern = append(pattern, "*")
		}
		if !p.services(pattern) {
			fmt.Fprintf(p.env.Err, "postconf: warning: unmatched request: %q\n", text)
		}
	}
	return nil
}

func (p *printer) services(pattern []string) (found bool) {
	for _, s := range p.cfg.Services {
		if !match(pattern[0], s.Name) || !match(pattern[1], s.Type) {
			continue
		}
		switch p.mode {
		case 'M':
			p.entry(s)
			found = true
		case 'F':
			found = p.fields(s, pattern[2]) || found
		case 'P':
			found = p.settings(s, pattern[2]) || found
		}
	}
	return found
}

func match(pattern, s string) bool { return pattern == "*" || pattern == s }

// settings prints the -o of a service, in order of name.
func (p *printer) settings(s config.Service, name string) (found bool) {
	values := make(map[string]string)
	for _, o := range s.Overrides {
		values[o.Name] = o.Value
	}
	for _, n := range slices.Sorted(maps.Keys(values)) {
		if !match(name, n) {
			continue
		}
		p.print(s.Name+"/"+s.Type+"/"+n, p.expanded(s, values[n]))
		found = true
	}
	return found
}

func (p *printer) expanded(s config.Service, value string) string {
	if !p.expand {
		return value
	}
	v, err := p.cfg.Service(s).ExpandValue(value)
	if err != nil {
		fmt.Fprintf(p.env.Err, "postconf: warning: %v\n", err)
	}
	return v
}

var fieldNames = []string{"service", "type", "private", "unprivileged", "chroot", "wakeup", "process_limit", "command"}

func (p *printer) fields(s config.Service, name string) (found bool) {
	for i, field := range fieldNames {
		if !match(name, field) {
			continue
		}
		value := s.Fields[i]
		if field == "command" {
			value = strings.Join(p.arguments(s), " ")
		}
		p.print(s.Name+"/"+s.Type+"/"+field, value)
		found = true
	}
	return found
}

// arguments returns the command and what follows it.
func (p *printer) arguments(s config.Service) []string {
	args := slices.Clone(s.Fields[len(fieldNames)-1:])
	if !p.expand {
		return args
	}
	for i := 1; i+1 < len(args); i++ {
		if args[i] != "-o" {
			continue
		}
		i++
		name, value, _ := strings.Cut(strings.Trim(args[i], "{}"), "=")
		args[i] = name + "=" + p.expanded(s, value)
		if strings.ContainsAny(args[i], " \t") {
			args[i] = "{" + args[i] + "}"
		}
	}
	return args
}

// columns are where the fields of a service begin.
var columns = []int{0, 11, 17, 25, 33, 41, 49, 57}

// entry prints a service as a line of master.cf.
func (p *printer) entry(s config.Service) {
	var b strings.Builder
	args := p.arguments(s)
	for i, goal := range columns {
		if i > 0 {
			b.WriteString(strings.Repeat(" ", max(goal-b.Len(), 1)))
		}
		b.WriteString(s.Fields[i])
	}
	length := b.Len()
	options := true
	for i := 1; i < len(args); i++ {
		word := args[i]
		options = options && strings.HasPrefix(word, "-")
		valued := options && word == "-o" && i+1 < len(args)
		if valued {
			i++
			word += " " + args[i]
			length = lineLimit
		}
		if !p.fold || length+1+len(word) < lineLimit {
			b.WriteByte(' ')
			length++
		} else {
			b.WriteString("\n" + indent)
			length = len(indent)
		}
		b.WriteString(word)
		if length += len(word); valued {
			length = lineLimit
		}
	}
	fmt.Fprintln(p.env.Out, b.String())
}
