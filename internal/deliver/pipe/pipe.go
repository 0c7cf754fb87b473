// Package pipe hands messages to the program that a service of master.cf names,
// as Postfix's pipe(8) does: one run for all recipients of a delivery, with
// their addresses in the program's arguments.
//
// How a program is run and what its exit status means is package command's
// business. Only users, groups, flags and arguments of master.cf count here; the
// program never runs as root or as the mail system.
package pipe

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/deliver"
	"sekisho/internal/deliver/command"
	"sekisho/internal/maillog"
	"sekisho/internal/rewrite"
)

// Options are what New needs.
type Options struct {
	Name   string         // of the service in master.cf
	Args   []string       // its arguments, up to and with argv=
	Config *config.Config // the service's view
	// Resolver knows where a local part's extension begins.
	Resolver *rewrite.Resolver
	Clock    clock.Clock
	Log      *slog.Logger // under the agent's name
}

// Agent delivers to a program. It is safe for concurrent use.
type Agent struct {
	o        Options
	limit    time.Duration
	original bool // enable_original_recipient
	env      []string
	queue    string // queue_directory
}

// New returns the agent of a service. What is wrong with its arguments shows
// when there is mail for it, as with Postfix: master.cf often has examples of
// programs and users that a site has not.
func New(o Options) *Agent {
	return &Agent{
		o: o, limit: limit(o),
		original: o.Config.Bool("enable_original_recipient"), env: command.Exported(o.Config), queue: o.Config.Str("queue_directory"),
	}
}

// limit is how long the program may run.
func limit(o Options) time.Duration {
	d, err := config.ParseTime(o.Config.Str(fmt.Sprintf("%s_time_limit", o.Name)), 's')
	if err != nil || d <= 0 {
		return o.Config.Duration("command_time_limit")
	}
	return d
}

// Deliver runs the program once for all recipients.
func (a *Agent) Deliver(ctx context.Context, r *deliver.Request) []deliver.Result {
	s, err := a.parse(a.o.Args)
	if err != nil {
		a.o.Log.Log(ctx, maillog.LevelFatal, err.Error())
		return r.Defer("4.3.0", "none", "unknown mail transport error")
	}
	res := a.deliver(ctx, r, s)
	res.Relay = a.o.Name
	return r.All(res)
}

func (a *Agent) deliver(ctx context.Context, r *deliver.Request, s *settings) deliver.Result {
	misconfigured := deliver.Result{DSN: "4.3.5", Text: "mail system configuration error"}
	switch {
	case len(r.Recipients) > 1 && (s.delivered || s.original):
		letter := "D"
		if !s.delivered {
			letter = "O"
		}
		a.o.Log.Warn(fmt.Sprintf("pipe flag `%s' requires %s_destination_recipient_limit = 1", letter, a.o.Name))
		return misconfigured
	case s.size > 0 && r.Size > s.size:
		return deliver.Result{Status: deliver.Bounced, DSN: "5.2.3", Text: "message too large"}
	case r.Probe:
		return deliver.Result{Status: deliver.Sent, DSN: "2.0.0", Text: "delivers to command: " + s.argv[0]}
	}
	if s.delivered {
		if res, looped := loop(r); looped {
			return res
		}
	}
	argv, err := a.expand(s, r)
	if err != nil {
		a.o.Log.Warn(err.Error())
		return misconfigured
	}
	cmd := command.Command{
		Argv: argv, Service: "pipe", Log: a.o.Log, UID: s.uid, GID: s.gid, Dir: s.dir, Home: a.queue, Chroot: s.chroot, Env: a.env,
		Limit: a.limit, Clock: a.o.Clock,
	}
	return a.outcome(s, cmd.Run(ctx, func(w io.Writer) error { return a.write(w, r, s) }))
}

// loop refuses a message that its recipient has had before.
func loop(r *deliver.Request) (res deliver.Result, looped bool) {
	had, err := r.DeliveredTo()
	to := r.Recipients[0].Address
	switch {
	case err != nil:
		return deliver.Result{DSN: "4.3.0", Text: "error reading message: " + err.Error()}, true
	case had[strings.ToLower(to)]:
		return deliver.Result{Status: deliver.Bounced, DSN: "5.4.6", Text: "mail forwarding loop for " + to}, true
	}
	return res, false
}

// write writes the message to the program.
func (a *Agent) write(w io.Writer, r *deliver.Request, s *settings) error {
	f := s.form
	f.Sender = s.sender(r)
	if s.original && a.original {
		f.Original = r.Recipients[0].Original
	}
	if s.delivered {
		f.Delivered = r.Recipients[0].Address
	}
	content, err := r.Content()
	if err != nil {
		return command.ReadError{Err: err}
	}
	defer content.Close()
	return f.Write(w, content, a.o.Clock.Now())
}

// outcome puts a success into the words of pipe(8).
func (a *Agent) outcome(s *settings, res deliver.Result) deliver.Result {
	if res.Status != deliver.Sent {
		return res
	}
	output := strings.TrimRight(res.Text, " ")
	if output != "" {
		output = " (" + output[:min(len(output), 100)] + ")"
	}
	res.Text, res.Relayed = "delivered via "+a.o.Name+" service"+output, !s.final
	return res
}

// attributes are the macros that are the same for all recipients.
func (a *Agent) attributes(s *settings, r *deliver.Request) map[string]string {
	c := r.Envelope.Client
	nexthop := r.Nexthop
	if s.foldHost {
		nexthop = strings.ToLower(nexthop)
	}
	return map[string]string{
		"nexthop": nexthop, "sender": s.quoted(s.sender(r)), "size": strconv.FormatInt(r.Size, 10),
		"client_address": c.Address, "client_hostname": c.Name, "client_port": c.Port, "client_protocol": c.Protocol,
		"client_helo": c.Helo, "sasl_method": c.SASLMethod, "sasl_username": c.SASLUsername, "sasl_sender": c.SASLSender,
		"queue_id": r.QueueID, "envid": r.Envelope.EnvID,
	}
}
