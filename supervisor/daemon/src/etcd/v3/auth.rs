//! Auth: users, roles, and what they may do. Who may do what is decided in the store; passwords become hashes here, and
//! tokens are made here.

use bytes::Bytes;
use corten_etcd_api::authpb;
use corten_etcd_api::etcdserverpb::auth_server::Auth;
use corten_etcd_api::etcdserverpb::{
    AuthDisableRequest, AuthDisableResponse, AuthEnableRequest, AuthEnableResponse, AuthRoleAddRequest,
    AuthRoleAddResponse, AuthRoleDeleteRequest, AuthRoleDeleteResponse, AuthRoleGetRequest,
    AuthRoleGetResponse, AuthRoleGrantPermissionRequest, AuthRoleGrantPermissionResponse,
    AuthRoleListRequest, AuthRoleListResponse, AuthRoleRevokePermissionRequest,
    AuthRoleRevokePermissionResponse, AuthStatusRequest, AuthStatusResponse, AuthUserAddRequest,
    AuthUserAddResponse, AuthUserChangePasswordRequest, AuthUserChangePasswordResponse,
    AuthUserDeleteRequest, AuthUserDeleteResponse, AuthUserGetRequest, AuthUserGetResponse,
    AuthUserGrantRoleRequest, AuthUserGrantRoleResponse, AuthUserListRequest, AuthUserListResponse,
    AuthUserRevokeRoleRequest, AuthUserRevokeRoleResponse, AuthenticateRequest, AuthenticateResponse,
    ResponseHeader,
};
use corten_store::auth::{self, Caller, Change, Permission, PermissionKind};
use corten_store::kv::{Error, Lookup};
use corten_store::{Command, Response as Outcome};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::{V3, error, token, unexpected};
use crate::etcd::now_ms;

#[tonic::async_trait]
impl Auth for V3 {
    async fn auth_enable(
        &self,
        request: Request<AuthEnableRequest>,
    ) -> Result<Response<AuthEnableResponse>, Status> {
        let header = self.change(request.metadata(), Change::Enable).await?;
        Ok(Response::new(AuthEnableResponse { header }))
    }

    async fn auth_disable(
        &self,
        request: Request<AuthDisableRequest>,
    ) -> Result<Response<AuthDisableResponse>, Status> {
        let header = self.change(request.metadata(), Change::Disable).await?;
        Ok(Response::new(AuthDisableResponse { header }))
    }

    async fn auth_status(
        &self,
        request: Request<AuthStatusRequest>,
    ) -> Result<Response<AuthStatusResponse>, Status> {
        self.on_behalf_of(request.metadata()).admin().await?;
        let standing = self.read(|tx| auth::standing(tx))?;
        Ok(Response::new(AuthStatusResponse {
            header: self.header_now()?,
            enabled: standing.enabled,
            auth_revision: standing.revision,
        }))
    }

    async fn authenticate(
        &self,
        request: Request<AuthenticateRequest>,
    ) -> Result<Response<AuthenticateResponse>, Status> {
        let by = self.on_behalf_of(request.metadata());
        let AuthenticateRequest { name, password } = request.into_inner();
        self.linearize().await?;
        let user = self.look_up(|tx| {
            if !auth::standing(tx)?.enabled {
                return Ok(Err(Error::AuthNotEnabled));
            }
            Ok(auth::user(tx, &name)?.ok_or(Error::AuthFailed))
        })?;
        let is_right = self.passwords.is_right(&user.name, &user.password_hash, password);
        if !is_right.await {
            return Err(error::refused(Error::AuthFailed));
        }
        by.caller().await?;
        let secret = self.token_secret().await?;
        Ok(Response::new(AuthenticateResponse {
            header: self.header_now()?,
            token: token::mint(&user, &secret, now_ms() / 1000),
        }))
    }

    async fn user_add(
        &self,
        request: Request<AuthUserAddRequest>,
    ) -> Result<Response<AuthUserAddResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let no_password = request.options.is_some_and(|options| options.no_password);
        let password_hash = if no_password {
            String::new()
        } else {
            self.hashed_for(&metadata, request.password).await?
        };
        let change = Change::UserAdd {
            name: request.name,
            password_hash,
            no_password,
        };
        let header = self.change(&metadata, change).await?;
        Ok(Response::new(AuthUserAddResponse { header }))
    }

    async fn user_get(
        &self,
        request: Request<AuthUserGetRequest>,
    ) -> Result<Response<AuthUserGetResponse>, Status> {
        let (metadata, _, AuthUserGetRequest { name }) = request.into_parts();
        let user = self
            .look_at(&metadata, |tx, caller| {
                if let Err(error) = auth::read_user(tx, caller, &name)? {
                    return Ok(Err(error));
                }
                Ok(auth::user(tx, &name)?.ok_or(Error::UserNotFound))
            })
            .await?;
        Ok(Response::new(AuthUserGetResponse {
            header: self.header_now()?,
            roles: user.roles,
        }))
    }

    async fn user_list(
        &self,
        request: Request<AuthUserListRequest>,
    ) -> Result<Response<AuthUserListResponse>, Status> {
        let users = self
            .look_at(request.metadata(), |tx, caller| match auth::admin(tx, caller)? {
                Ok(()) => Ok(Ok(auth::users(tx)?)),
                Err(error) => Ok(Err(error)),
            })
            .await?;
        Ok(Response::new(AuthUserListResponse {
            header: self.header_now()?,
            users: users.into_iter().map(|user| user.name).collect(),
        }))
    }

    async fn user_delete(
        &self,
        request: Request<AuthUserDeleteRequest>,
    ) -> Result<Response<AuthUserDeleteResponse>, Status> {
        let (metadata, _, AuthUserDeleteRequest { name }) = request.into_parts();
        let header = self.change(&metadata, Change::UserDelete { name }).await?;
        Ok(Response::new(AuthUserDeleteResponse { header }))
    }

    async fn user_change_password(
        &self,
        request: Request<AuthUserChangePasswordRequest>,
    ) -> Result<Response<AuthUserChangePasswordResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let change = Change::UserChangePassword {
            name: request.name,
            password_hash: self.hashed_for(&metadata, request.password).await?,
        };
        let header = self.change(&metadata, change).await?;
        Ok(Response::new(AuthUserChangePasswordResponse { header }))
    }

    async fn user_grant_role(
        &self,
        request: Request<AuthUserGrantRoleRequest>,
    ) -> Result<Response<AuthUserGrantRoleResponse>, Status> {
        let (metadata, _, AuthUserGrantRoleRequest { user, role }) = request.into_parts();
        let header = self
            .change(&metadata, Change::UserGrantRole { user, role })
            .await?;
        Ok(Response::new(AuthUserGrantRoleResponse { header }))
    }

    async fn user_revoke_role(
        &self,
        request: Request<AuthUserRevokeRoleRequest>,
    ) -> Result<Response<AuthUserRevokeRoleResponse>, Status> {
        let (metadata, _, AuthUserRevokeRoleRequest { name: user, role }) = request.into_parts();
        let header = self
            .change(&metadata, Change::UserRevokeRole { user, role })
            .await?;
        Ok(Response::new(AuthUserRevokeRoleResponse { header }))
    }

    async fn role_add(
        &self,
        request: Request<AuthRoleAddRequest>,
    ) -> Result<Response<AuthRoleAddResponse>, Status> {
        let (metadata, _, AuthRoleAddRequest { name }) = request.into_parts();
        let header = self.change(&metadata, Change::RoleAdd { name }).await?;
        Ok(Response::new(AuthRoleAddResponse { header }))
    }

    async fn role_get(
        &self,
        request: Request<AuthRoleGetRequest>,
    ) -> Result<Response<AuthRoleGetResponse>, Status> {
        let (metadata, _, AuthRoleGetRequest { role }) = request.into_parts();
        let role = self
            .look_at(&metadata, |tx, caller| {
                if let Err(error) = auth::read_role(tx, caller, &role)? {
                    return Ok(Err(error));
                }
                Ok(auth::role(tx, &role)?.ok_or(Error::RoleNotFound))
            })
            .await?;
        Ok(Response::new(AuthRoleGetResponse {
            header: self.header_now()?,
            perm: role.permissions.into_iter().map(told).collect(),
        }))
    }

    async fn role_list(
        &self,
        request: Request<AuthRoleListRequest>,
    ) -> Result<Response<AuthRoleListResponse>, Status> {
        let roles = self
            .look_at(request.metadata(), |tx, caller| match auth::admin(tx, caller)? {
                Ok(()) => Ok(Ok(auth::roles(tx)?)),
                Err(error) => Ok(Err(error)),
            })
            .await?;
        Ok(Response::new(AuthRoleListResponse {
            header: self.header_now()?,
            roles: roles.into_iter().map(|role| role.name).collect(),
        }))
    }

    async fn role_delete(
        &self,
        request: Request<AuthRoleDeleteRequest>,
    ) -> Result<Response<AuthRoleDeleteResponse>, Status> {
        let (metadata, _, AuthRoleDeleteRequest { role: name }) = request.into_parts();
        let header = self.change(&metadata, Change::RoleDelete { name }).await?;
        Ok(Response::new(AuthRoleDeleteResponse { header }))
    }

    async fn role_grant_permission(
        &self,
        request: Request<AuthRoleGrantPermissionRequest>,
    ) -> Result<Response<AuthRoleGrantPermissionResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let permission = asked(request.perm.unwrap_or_default());
        let change = Change::RoleGrantPermission {
            role: request.name,
            permission,
        };
        let header = self.change(&metadata, change).await?;
        Ok(Response::new(AuthRoleGrantPermissionResponse { header }))
    }

    async fn role_revoke_permission(
        &self,
        request: Request<AuthRoleRevokePermissionRequest>,
    ) -> Result<Response<AuthRoleRevokePermissionResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let change = Change::RoleRevokePermission {
            role: request.role,
            key: request.key,
            range_end: request.range_end,
        };
        let header = self.change(&metadata, change).await?;
        Ok(Response::new(AuthRoleRevokePermissionResponse { header }))
    }
}

impl V3 {
    /// Proposes a change on behalf of who sent this metadata; the answer's head.
    async fn change(&self, metadata: &MetadataMap, change: Change) -> Result<Option<ResponseHeader>, Status> {
        let caller = self.on_behalf_of(metadata).caller().await?;
        self.propose_change(caller, change).await?;
        self.header_now()
    }

    async fn propose_change(&self, caller: Caller, change: Change) -> Result<(), Status> {
        let applied = self.node.propose(Command::Auth(caller, change)).await;
        match applied.map_err(|error| error::proposing(&error))?.response {
            Outcome::Auth(done) => done.map_err(error::refused),
            _ => Err(unexpected()),
        }
    }

    /// bcrypt of a new password, for who may set it: it takes a good while on purpose.
    async fn hashed_for(&self, metadata: &MetadataMap, password: String) -> Result<String, Status> {
        self.on_behalf_of(metadata).admin().await?;
        let hashed = self.passwords.hash(password).await;
        hashed.map_err(|error| Status::internal(error.to_string()))
    }

    /// What tokens are made with. Where there is nothing yet, because auth was just switched on or the store restored, it is
    /// made now; of several that are made at once the first counts.
    async fn token_secret(&self) -> Result<Bytes, Status> {
        let known = || self.read(|tx| auth::token_secret(tx));
        if let Some(secret) = known()? {
            return Ok(secret);
        }
        let secret = Bytes::from_owner(rand::random::<[u8; 32]>());
        self.propose_change(Caller::Server, Change::TokenSecret(secret))
            .await?;
        // Somebody may have switched auth off meanwhile.
        known()?.ok_or_else(|| error::refused(Error::AuthNotEnabled))
    }

    /// Reads users or roles on behalf of who sent this metadata.
    async fn look_at<T>(
        &self,
        metadata: &MetadataMap,
        f: impl FnOnce(&corten_raft::ReadTx<'_>, &Caller) -> Lookup<T>,
    ) -> Result<T, Status> {
        self.linearize().await?;
        self.on_behalf_of(metadata).look_up_by(f)
    }
}

fn asked(permission: authpb::Permission) -> Permission {
    let kind = match permission.perm_type() {
        authpb::permission::Type::Read => PermissionKind::Read,
        authpb::permission::Type::Write => PermissionKind::Write,
        authpb::permission::Type::Readwrite => PermissionKind::ReadWrite,
    };
    Permission {
        kind,
        key: permission.key,
        range_end: permission.range_end,
    }
}

fn told(permission: Permission) -> authpb::Permission {
    let kind = match permission.kind {
        PermissionKind::Read => authpb::permission::Type::Read,
        PermissionKind::Write => authpb::permission::Type::Write,
        PermissionKind::ReadWrite => authpb::permission::Type::Readwrite,
    };
    authpb::Permission {
        perm_type: kind.into(),
        key: permission.key,
        range_end: permission.range_end,
    }
}
