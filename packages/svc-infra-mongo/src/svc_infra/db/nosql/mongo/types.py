"""The driver's types under one name each, whichever of the two drivers is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from motor.motor_asyncio import (
        AsyncIOMotorClient,
        AsyncIOMotorClientSession,
        AsyncIOMotorCollection,
        AsyncIOMotorDatabase,
    )
    from pymongo.asynchronous.client_session import AsyncClientSession
    from pymongo.asynchronous.collection import AsyncCollection
    from pymongo.asynchronous.database import AsyncDatabase
    from pymongo.asynchronous.mongo_client import AsyncMongoClient

__all__ = ["Document", "MongoClient", "MongoCollection", "MongoDatabase", "MongoSession"]

Document: TypeAlias = dict[str, Any]
"""A document: field names to values of whatever BSON type each has."""

MongoClient: TypeAlias = "AsyncIOMotorClient[Document] | AsyncMongoClient[Document]"
MongoDatabase: TypeAlias = "AsyncIOMotorDatabase[Document] | AsyncDatabase[Document]"
MongoCollection: TypeAlias = "AsyncIOMotorCollection[Document] | AsyncCollection[Document]"
MongoSession: TypeAlias = "AsyncIOMotorClientSession | AsyncClientSession"
