package local

import (
	"io"
	"slices"

	"sekisho/internal/deliver"
	"sekisho/internal/deliver/command"
)

// command hands the message to a command (command.c).
func (d *delivery) command(s state, line string) status {
	if d.beenHere("command %s:%d %s", s.user, s.rights.uid, line) {
		return fine
	}
	if d.r.Probe {
		return d.sent(s, "delivers to command: %s", line)
	}
	r, err := d.a.unprivileged(s.rights)
	if err != nil {
		d.warn("%v", err)
		return d.add(s, deferred("4.3.5", "mail system configuration error"))
	}
	dir, _, err := d.fill(s, d.a.executionDirectory, d.a.directoryFilter)
	if err != nil {
		d.warn("bad parameter value syntax for command_execution_directory: %s", d.a.executionDirectory)
		return d.addOwned(s, deferred("4.3.5", "mail system configuration error"))
	}
	cmd := command.Command{
		Line: line, Shell: d.a.shell, Service: "local", Log: d.a.o.Log, UID: r.uid, GID: r.gid,
		Dir: dir, Home: d.a.queue, Env: append(slices.Clone(d.a.env), d.environment(s)...),
		Limit: d.a.commandLimit, Clock: d.a.o.Clock,
	}
	res := cmd.Run(d.ctx, func(w io.Writer) error { return d.write(w, s) })
	if res.Status != deliver.Sent {
		return d.addOwned(s, res)
	}
	return d.sent(s, "delivered to command: %s", line)
}

// write writes the message to a command.
func (d *delivery) write(w io.Writer, s state) error {
	f := command.Form{FromLine: true, ReturnPath: true, EOL: "\n", Sender: s.sender}
	if d.a.original {
		f.Original = s.to.Original
	}
	if slices.Contains(d.a.prepend, "command") {
		f.Delivered = s.delivered
	}
	content, err := d.r.Content()
	if err != nil {
		return command.ReadError{Err: err}
	}
	defer content.Close()
	return f.Write(w, content, d.a.o.Clock.Now())
}

// environment is what a command gets to know. What comes from outside has only
// the characters of command_expansion_filter.
func (d *delivery) environment(s state) []string {
	c := d.r.Envelope.Client
	var env []string
	add := func(name, value string, always bool) {
		if value != "" || always {
			env = append(env, name+"="+censor(value, d.a.commandFilter))
		}
	}
	add("HOME", s.rights.home, false)
	add("LOGNAME", s.user, true)
	add("USER", s.user, true)
	add("SENDER", s.sender, true)
	add("RECIPIENT", s.to.Address, true)
	add("LOCAL", s.local, true)
	add("SHELL", s.rights.shell, false)
	add("DOMAIN", s.domain, true)
	add("EXTENSION", s.ext, s.hasExt)
	add("ORIGINAL_RECIPIENT", s.to.Original, false)
	add("ENVID", d.r.Envelope.EnvID, false)
	add("CLIENT_HOSTNAME", c.Name, false)
	add("CLIENT_ADDRESS", c.Address, false)
	add("CLIENT_HELO", c.Helo, false)
	add("CLIENT_PROTOCOL", c.Protocol, false)
	add("SASL_METHOD", c.SASLMethod, false)
	add("SASL_SENDER", c.SASLSender, false)
	add("SASL_USERNAME", c.SASLUsername, false)
	return env
}
