#!/usr/bin/env bash
# Removes what install.sh has created. Packages and tokens stay without --with-packages:
#
#     PROJECT_ID=my-project deploy/cloud-shell/remove.sh
#     PROJECT_ID=my-project deploy/cloud-shell/remove.sh --with-packages
#
# It asks nothing, and prints each step. A bucket without the label of install.sh always stays. Run it again after a
# failure: missing things are skipped. REGION, BUCKET and SIGNER_ROLE_ID need the values of install.sh.
set -euo pipefail

case ${1-} in
  '' | --with-packages) ;;
  *)
    echo "usage: PROJECT_ID=my-project $0 [--with-packages]" >&2
    exit 2
    ;;
esac
# shellcheck source=common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
leave() {
  echo "gs://$1 stays: install.sh has not made it. If it is to go, type:"
  echo "gcloud storage rm --recursive --all-versions gs://$1"
}

say "the project $PROJECT_ID"
gcloud projects describe "$PROJECT_ID" --format='value(projectNumber)'

say "the service"
if has_service; then gcloud run services delete wheelyard --region="$REGION"; fi

say "the settings, and what describes the index"
for secret in wheelyard-toml wheelyard-index-toml; do
  if has_secret "$secret"; then gcloud secrets delete "$secret"; fi
done

say "the images"
if has_repository; then gcloud artifacts repositories delete wheelyard --location="$REGION"; fi

say "what was sent to be built: $BUILDS"
if has_bucket "$BUILDS"; then
  if is_made_here "$BUILDS"; then gcloud storage rm --recursive --all-versions "gs://$BUILDS"; else leave "$BUILDS"; fi
fi

say "accounts"
bound=$(gcloud projects get-iam-policy "$PROJECT_ID" --flatten='bindings[].members' \
  --filter='bindings.role=roles/logging.logWriter' --format='value(bindings.members)')
for account in "$PUBLISHER" "$BUILDER"; do
  if grep -qx "serviceAccount:$account" <<< "$bound"; then
    gcloud projects remove-iam-policy-binding "$PROJECT_ID" \
      --member="serviceAccount:$account" --role=roles/logging.logWriter --condition=None > /dev/null
  fi
done
for account in "$SERVER" "$PUBLISHER" "$BUILDER"; do
  if has_account "$account"; then gcloud iam service-accounts delete "$account"; fi
done

if has_role; then gcloud iam roles delete "$SIGNER_ROLE_ID" --project="$PROJECT_ID" > /dev/null; fi

say "packages and tokens: $BUCKET, $CREDENTIALS"
for bucket in "$BUCKET" "$CREDENTIALS"; do
  if ! has_bucket "$bucket"; then
    echo "gs://$bucket is gone"
  elif ! is_made_here "$bucket"; then
    leave "$bucket"
  elif [ "${1-}" = --with-packages ]; then
    # Else deleted objects would be kept, and billed, for the bucket's soft delete time.
    gcloud storage buckets update "gs://$bucket" --clear-soft-delete
    gcloud storage rm --recursive --all-versions "gs://$bucket"
  else
    echo "gs://$bucket stays, and is paid for. With --with-packages it goes, too."
  fi
done
