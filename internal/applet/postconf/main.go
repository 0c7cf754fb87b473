package postconf

import (
	"fmt"
	"slices"
	"strings"

	"sekisho/internal/config"
)

// parameters prints the parameters asked for, or all there are.
func (p *printer) parameters(names []string) {
	classes := p.classes()
	if len(names) > 0 {
		for _, n := range names {
			if classes[n] == "" {
				fmt.Fprintf(p.env.Err, "postconf: warning: %s: unknown parameter\n", n)
				continue
			}
			p.parameter(n)
		}
		return
	}
	all := make([]string, 0, len(classes))
	for n, class := range classes {
		if p.class == "" || p.class == "all" || p.class == class {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	for _, n := range all {
		p.parameter(n)
	}
}

// classes returns every name that is a parameter here, and whether it is so by
// itself, by a transport's name or because the user refers to it.
func (p *printer) classes() map[string]string {
	m := make(map[string]string, 1000)
	for _, n := range p.usage.Names {
		m[n] = "user"
	}
	for _, n := range config.TransportParameters(p.cfg.Services) {
		m[n] = "service"
	}
	for _, par := range config.Parameters() {
		m[par.Name] = "builtin"
	}
	return m
}

func (p *printer) parameter(name string) {
	if p.set && !p.cfg.Set(name) {
		return
	}
	value, _ := p.cfg.Raw(name)
	if p.expand {
		var err error
		if value, err = p.cfg.Eval(name); err != nil {
			fmt.Fprintf(p.env.Err, "postconf: warning: %v\n", err)
		}
	}
	p.print(name, value)
}

// print prints one "name = value".
func (p *printer) print(name, value string) {
	switch {
	case p.hideValue:
		fmt.Fprintln(p.env.Out, name)
	case p.hideName:
		fmt.Fprintln(p.env.Out, p.line(value))
	default:
		fmt.Fprintln(p.env.Out, p.line(name+" = "+value))
	}
}

// Folded lines are no longer than lineLimit; those that continue one begin with
// indent.
const (
	lineLimit = 80
	indent    = "    "
)

// line joins the words of a text, folded if asked for.
func (p *printer) line(text string) string {
	words := strings.Fields(text)
	if !p.fold {
		return strings.Join(words, " ")
	}
	var b strings.Builder
	length := 0
	for i, w := range words {
		switch {
		case i == 0:
		case length+1+len(w) <= lineLimit:
			b.WriteByte(' ')
			length++
		default:
			b.WriteString("\n" + indent)
			length = len(indent)
		}
		b.WriteString(w)
		length += len(w)
	}
	return b.String()
}
