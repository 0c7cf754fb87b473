package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"sekisho/internal/anvil"
	"sekisho/internal/cleanup"
	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/dns"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/maillog"
	"sekisho/internal/queue"
	"sekisho/internal/restrict"
	"sekisho/internal/rewrite"
	"sekisho/internal/sasl"
	"sekisho/internal/verify"
	"sekisho/internal/wire"
)

// Options are what a Server is made of. All but SASL, Post and Flush are needed.
type Options struct {
	Config   *config.Config    // the service's view: main.cf with its -o
	Service  string            // its name in master.cf, for log lines and limits
	Program  *restrict.Program // its restriction lists
	Resolver *rewrite.Resolver
	World    *evidence.World // whom restrictions ask
	Lists    rewrite.World   // for the match lists of the server itself
	Peers    *dns.System     // names of clients
	SASL     sasl.Backend    // nil: nobody can log in
	Anvil    *anvil.Anvil    // shared by all servers
	Cleaner  *cleanup.Cleaner
	Queue    *queue.Queue
	// Lookup asks a table named in a parameter of the server.
	Lookup func(table, key string) (value string, found bool, err error)
	// Post puts a message of the server itself into the queue; write produces it
	// under the queue id. nil: the postmaster is not told of errors.
	Post func(ctx context.Context, env mail.Envelope, write func(id string, w io.Writer) error) error
	// Flush tries the waiting mail for a domain now, as ETRN asks; may be nil.
	Flush func(domain string)
	Clock clock.Clock
	Log   *slog.Logger
}

// Server is one smtpd service of master.cf. It never changes and is safe for
// concurrent use; a new configuration makes a new Server.
type Server struct {
	o          Options
	set        *settings
	cleaner    *cleanup.Cleaner // o.Cleaner with the service's own parameters
	tls        *tlsServer       // nil: no TLS
	log        *slog.Logger
	rewriteLog *slog.Logger  // for what Postfix's trivial-rewrite says
	prober     verify.Sender // from whom our own address probes come
	pid        int           // of the process, for the same
	seq        atomic.Int64  // transactions, for the policy protocol's instance
}

// New returns the server of a service. The error tells everything in its
// configuration that cannot work, one line each, with file and line.
func New(o Options) (*Server, error) {
	set, err := readSettings(o.Config, o.Lists)
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, set: set, pid: os.Getpid(), log: o.Log.With(maillog.Service(set.syslogName + "/smtpd")),
		rewriteLog: o.Log.With(maillog.Service(set.syslogName + "/trivial-rewrite")),
		prober:     verify.SenderFromConfig(o.Config, o.Resolver.Rewrite)}
	if err := s.loadTLS(); err != nil {
		return nil, err
	}
	mynetworks, err := rewrite.MatchList(o.Config, o.Lists, "mynetworks")
	if err != nil {
		return nil, err
	}
	var problems []cleanup.Problem
	if s.cleaner, problems = o.Cleaner.For(o.Config, mynetworks); len(problems) > 0 {
		return nil, joinProblems(problems)
	}
	if set.sasl.enable && o.SASL == nil {
		return nil, fmt.Errorf("%s: smtpd_sasl_auth_enable: logins are enabled, but there is no place to check passwords; set smtpd_sasl_type",
			o.Config.Pos("smtpd_sasl_auth_enable"))
	}
	return s, nil
}

func joinProblems(problems []cleanup.Problem) error {
	var errs []error
	for _, p := range problems {
		errs = append(errs, errors.New(p.String()))
	}
	return errors.Join(errs...)
}

// loadTLS reads certificates and keys. Where TLS is optional and there is no
// certificate at all, it is not offered, with Postfix's warning.
func (s *Server) loadTLS() error {
	set := &s.set.tls
	if !set.offer {
		return nil
	}
	t, err := newTLSServer(s.o.Config, set, s.o.Lookup)
	switch {
	case errors.Is(err, errNoCertificate) && !set.mandatory:
		s.log.Warn("No server certs available. TLS won't be enabled")
		set.offer = false
		return nil
	case errors.Is(err, errNoCertificate):
		return fmt.Errorf("%s: smtpd_tls_security_level: %w", s.o.Config.Pos("smtpd_tls_security_level"), err)
	case err != nil:
		return err
	}
	s.tls = t
	return nil
}

// Serve holds one session over conn and closes it. When ctx ends, the session
// ends before its next command with a 421.
func (s *Server) Serve(ctx context.Context, conn net.Conn) {
	ss := s.Begin(ctx, conn)
	defer ss.Close()
	ss.Run(0)
}

// Session is one connection. It is for one goroutine at a time.
type Session struct{ session }

// Begin makes the session that Serve holds, for a caller who wants no goroutine
// to wait for a silent client.
func (s *Server) Begin(ctx context.Context, conn net.Conn) *Session {
	// What the session asks and writes goes on until its end, so that a
	// message under way is not lost: ctx only ends the wait for a command.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	return &Session{session{srv: s, set: s.set, ctx: work, cancel: cancel, draining: ctx, conn: conn, wire: wire.New(conn)}}
}

// Run goes on with the session until it is over, or until the client has sent
// nothing for patience; then Run has to be called again when Silence tells, or
// when ctx has ended. Without patience (0) the session is over afterwards.
func (s *Session) Run(patience time.Duration) (over bool) { return s.run(patience) }

// Silence is what a session waits for whose client is silent: something to read
// from the socket, nil where there is none, or that time (zero: forever).
func (s *Session) Silence() (socket syscall.RawConn, until time.Time) { return s.wire.Silence() }

// Close closes the connection and ends what the session has asked for.
func (s *Session) Close() {
	s.close()
	s.cancel()
}
