package saslauthd

import (
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"

	"sekisho/internal/directory"
	"sekisho/internal/sasl"
	"sekisho/internal/sasl/rimap"
)

// check asks whether a password is right; an error means that nobody knows.
type check func(ctx context.Context, login, password, service, realm string) (ok bool, reason string, err error)

// mechanism opens what -a names. Whether it can be asked now is only logged:
// it may come up later.
func (c *Cmd) mechanism(ctx context.Context, e *Env, log *slog.Logger) (ask check, closeAsk func(), err error) {
	if c.Mechanism == "sekisho" {
		return c.sekisho(ctx, e)
	}
	if c.Option == "" {
		return nil, nil, errors.New("-a rimap needs -O HOST")
	}
	// The server puts name and realm together, whatever the mechanism.
	r, err := rimap.New(rimap.Options{Server: c.Option, CAFile: c.CAFile, Clock: e.Clock})
	if err != nil {
		return nil, nil, err
	}
	go func() {
		if err := r.Probe(ctx); err != nil && ctx.Err() == nil {
			log.Warn(err.Error())
		}
	}()
	return r.Check, func() {}, nil
}

// sekisho asks the account directory in the way of SMTP authentication, which
// takes the same time for a user that does not exist.
func (c *Cmd) sekisho(ctx context.Context, e *Env) (ask check, closeAsk func(), err error) {
	spec, err := e.Directory(c.Config)
	if err != nil {
		return nil, nil, err
	}
	d, err := directory.Open(ctx, spec, e.Clock)
	if err != nil {
		return nil, nil, err
	}
	closeAsk = func() { _ = d.Close() } // nothing was written
	host, err := os.Hostname()
	if err != nil {
		closeAsk()
		return nil, nil, err
	}
	embedded, err := sasl.NewEmbedded(d, host, e.Clock)
	if err != nil {
		closeAsk()
		return nil, nil, err
	}
	return plain(embedded), closeAsk, nil
}

// plain asks a backend by SASL PLAIN.
func plain(b sasl.Backend) check {
	return func(ctx context.Context, login, password, service, _ string) (bool, string, error) {
		initial := base64.StdEncoding.EncodeToString([]byte("\x00" + login + "\x00" + password))
		_, step := b.Start(ctx, sasl.Client{Service: service, TLS: true}, "PLAIN", initial, true)
		reason := step.Reason
		for _, w := range step.Warnings {
			reason += " " + w
		}
		if step.Kind == sasl.TempFailed {
			return false, "", errors.New(reason)
		}
		return step.Kind == sasl.Done, reason, nil
	}
}
