// Package authserver is "sekisho auth-server": it answers programs that ask a
// Dovecot about passwords, such as Postfix and Exim beside Sekisho, from
// Sekisho's own accounts. For Postfix:
//
//	sekisho auth-server -c /etc/sekisho --socket /var/spool/postfix/private/auth
//
// and smtpd_sasl_type = dovecot, smtpd_sasl_path = private/auth in its main.cf;
// for Exim, an authenticator with driver = dovecot and server_socket. Started by
// root it becomes mail_owner first, who has the socket then.
//
// Failed logins wait for their answer as they do in "sekisho serve", but each
// process counts its own. The protocol is package sasl/authserver's.
package authserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/directory"
	"sekisho/internal/directory/password"
	"sekisho/internal/maillog"
	"sekisho/internal/master"
	"sekisho/internal/sasl"
	"sekisho/internal/sasl/authserver"
	"sekisho/internal/sasl/penalty"
)

// Env is what the command gets from the program.
type Env struct {
	Context context.Context
	Clock   clock.Clock
}

// Cmd is "sekisho auth-server".
type Cmd struct {
	Config string `short:"c" default:"/etc/postfix" env:"MAIL_CONFIG" placeholder:"DIR" help:"Folder of main.cf, which names the accounts."`
	Socket string `placeholder:"PATH" required:"" xor:"where" help:"Unix socket to listen at; relative to queue_directory."`
	Listen string `placeholder:"HOST:PORT" required:"" xor:"where" help:"TCP address to listen at. Passwords are not encrypted on the way there."`
	Mode   string `default:"0660" placeholder:"MODE" help:"Permissions of the socket."`
}

// acceptPause is how long to wait when the system has no room for another
// connection.
const acceptPause = time.Second

// Run serves until SIGTERM or SIGINT.
func (c *Cmd) Run(e *Env) error {
	mode, err := strconv.ParseUint(c.Mode, 8, 9)
	if err != nil {
		return fmt.Errorf("--mode %s: write three or four digits from 0 to 7", c.Mode)
	}
	ctx, stop := signal.NotifyContext(e.Context, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	cfg, _, err := config.Load(c.Config)
	if err != nil {
		return err
	}
	if err := master.GiveUpRoot(cfg); err != nil {
		return err
	}
	log, err := master.OpenLog(cfg, e.Clock)
	if err != nil {
		return err
	}
	logger := log.With(maillog.Service(cfg.Str("syslog_name") + "/auth-server"))
	err = c.serve(ctx, e, cfg, fs.FileMode(mode), logger)
	if err != nil && !log.Terminal {
		logger.Log(ctx, maillog.LevelFatal, err.Error())
	}
	return errors.Join(err, log.Close())
}

// serve opens the accounts and listens.
func (c *Cmd) serve(ctx context.Context, e *Env, cfg *config.Config, mode fs.FileMode, log *slog.Logger) error {
	spec := cfg.Str("sekisho_directory")
	dir, err := directory.Open(ctx, spec, e.Clock)
	if err != nil {
		return fmt.Errorf("%s: sekisho_directory: %w", cfg.Pos("sekisho_directory"), err)
	}
	backend, err := sasl.NewEmbedded(dir, cfg.Str("myhostname"), e.Clock)
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	if err := upgrade(backend, cfg); err != nil {
		return errors.Join(err, dir.Close())
	}
	l, err := c.listen(cfg, mode, log)
	if err != nil {
		return errors.Join(err, dir.Close())
	}
	log.Info(fmt.Sprintf("answering at %s from the accounts of %s", l.Addr(), spec))
	slow := penalty.Guard(backend, penalty.NewLedger(e.Clock), penalty.Settings{
		Delay:  cfg.Duration("sekisho_auth_failure_delay"),
		Max:    cfg.Duration("sekisho_auth_failure_max_delay"),
		Forget: cfg.Duration("sekisho_auth_failure_forget_time"),
	})
	accept(ctx, l, authserver.New(slow, e.Clock, log), e.Clock, log)
	log.Info("terminating")
	return dir.Close()
}

// upgrade applies sekisho_password_upgrade.
func upgrade(backend *sasl.Embedded, cfg *config.Config) error {
	const param = "sekisho_password_upgrade"
	if cfg.Str(param) == "" {
		return nil
	}
	scheme, err := password.Target(cfg.Str(param))
	if err != nil {
		return fmt.Errorf("%s: %s: %w", cfg.Pos(param), param, err)
	}
	backend.UpgradeTo(scheme)
	return nil
}

// listen opens the socket or the port.
func (c *Cmd) listen(cfg *config.Config, mode fs.FileMode, log *slog.Logger) (net.Listener, error) {
	if c.Listen != "" {
		l, err := net.Listen("tcp", c.Listen)
		if err != nil {
			return nil, fmt.Errorf("--listen %s: %w", c.Listen, err)
		}
		if a, err := netip.ParseAddrPort(l.Addr().String()); err == nil && !a.Addr().IsLoopback() {
			log.Warn(fmt.Sprintf("--listen %s: passwords come to this address unencrypted, and everybody who reaches it can try some; let only hosts that are meant to", c.Listen))
		}
		return l, nil
	}
	path := strings.TrimPrefix(c.Socket, "unix:")
	if !filepath.IsAbs(path) {
		path = filepath.Join(cfg.Str("queue_directory"), path)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// removeStale removes a socket that nobody listens at any more.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there already, and no socket", path)
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("a server answers at %s already; stop it, it may be Dovecot", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// accept serves clients until ctx ends, and returns when all are gone.
func accept(ctx context.Context, l net.Listener, s *authserver.Server, c clock.Clock, log *slog.Logger) {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var clients sync.WaitGroup
	defer clients.Wait()
	for {
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			log.Warn(fmt.Sprintf("accept connection at %s: %v", l.Addr(), err))
			if c.Sleep(ctx, acceptPause) != nil {
				return
			}
			continue
		}
		clients.Go(func() { s.Serve(ctx, conn) })
	}
}
