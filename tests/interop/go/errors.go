package main

import (
	"errors"
	"strings"
	"time"

	"github.com/quic-go/quic-go"
	"google.golang.org/grpc/status"
)

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// describe adds to facts what err says: its text, and the QUIC or gRPC codes in it.
func describe(err error, facts answer) {
	facts["error"] = err.Error()
	var application *quic.ApplicationError
	var transport *quic.TransportError
	var idle *quic.IdleTimeoutError
	var reset *quic.StatelessResetError
	var stream *quic.StreamError
	switch {
	case errors.As(err, &application):
		facts["close"] = answer{
			"application": true, "code": uint64(application.ErrorCode),
			"remote": application.Remote, "reason": application.ErrorMessage,
		}
	case errors.As(err, &transport):
		facts["close"] = answer{
			"application": false, "code": uint64(transport.ErrorCode),
			"remote": transport.Remote, "reason": transport.ErrorMessage,
		}
	case errors.As(err, &idle):
		facts["close"] = answer{"idle": true}
	case errors.As(err, &reset):
		facts["close"] = answer{"stateless_reset": true}
	case errors.As(err, &stream):
		facts["reset"] = answer{"code": uint64(stream.ErrorCode), "remote": stream.Remote}
	}
	if s, ok := status.FromError(err); ok {
		facts["grpc"] = answer{"code": s.Code().String(), "details": s.Message()}
	} else if _, name, found := strings.Cut(err.Error(), "rpc error: code = "); found {
		facts["grpc"] = answer{"code": strings.Fields(name)[0]}
	}
}
