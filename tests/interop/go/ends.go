package main

import (
	"context"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/qlog"
	"github.com/quic-go/quic-go/qlogwriter"
)

// ends has how each connection of a server ended, those too whose handshake failed: a listener hands out none of them.
type ends chan answer

func (e ends) trace(context.Context, bool, quic.ConnectionID) qlogwriter.Trace { return e }

func (e ends) SupportsSchemas(string) bool { return true }

func (e ends) AddProducer() qlogwriter.Recorder { return e }

func (e ends) Close() error { return nil }

func (e ends) RecordEvent(event qlogwriter.Event) {
	closed, is := event.(qlog.ConnectionClosed)
	if !is {
		return
	}
	end := answer{"remote": closed.Initiator == qlog.InitiatorRemote, "reason": closed.Reason}
	if closed.ConnectionError != nil {
		end["code"] = uint64(*closed.ConnectionError)
	}
	select {
	case e <- end:
	default:
	}
}

// waitEnded waits for the end of one connection of a server.
func waitEnded(_ context.Context, c command) (answer, error) {
	s, err := find(servers, c.Name)
	if err != nil {
		return nil, err
	}
	select {
	case end := <-s.ends:
		return answer{"close": end}, nil
	case <-time.After(seconds(c.Timeout)):
		return answer{"open": true}, nil
	}
}
