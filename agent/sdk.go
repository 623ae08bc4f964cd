package agent

import "os"

// warnAboutSDKs warns where APP_API_TOKEN is in the environment and the tokens come
// from elsewhere. Dapr SDKs read the variable once and check the token themselves,
// so they refuse the new token after a rotation.
func (r *resolved) warnAboutSDKs() {
	isSource := r.tokens != nil && r.tokens.kind == "env" && r.tokens.location == DaprTokenEnv
	if os.Getenv(DaprTokenEnv) == "" || isSource {
		return
	}
	r.Logger.Warn(DaprTokenEnv+" is set in the environment and is not the source; a Dapr SDK in the app reads it once"+
		" and checks the token again, so it refuses the new one after a rotation; unset it in the app's environment",
		"variable", DaprTokenEnv)
}
